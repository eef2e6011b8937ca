//! `cargo xtask demo`, `soak` and `test --stress`: build `bmdb-soak`, which does the work, and start it.

use crate::shell::{self, Done, Failure};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// The arguments of the program, which parses them itself.
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "OPTIONS"
    )]
    arguments: Vec<OsString>,
}

/// Replaces this process by the program, which then gets signals and sets the exit code itself.
pub(crate) fn run(preset: &str, args: &Args) -> Done {
    let mut program = command(preset)?;
    program.args(&args.arguments);
    eprintln!("$ {}", shell::as_typed(&program));
    Err(Failure::check(program.exec()))
}

/// The program with this preset. The demonstration needs the command line beside it; all presets build
/// both, so that cargo does not build their dependencies once more with other features.
pub(crate) fn command(preset: &str) -> Result<Command, Failure> {
    eprintln!("building bmdb-soak and bmdb: some minutes the first time, seconds later");
    let packages = ["--package", "bmdb-soak", "--package", "bmdb-cli", "--bins"];
    let mut command = Command::new(shell::built("bmdb-soak", &packages)?);
    command.arg(preset);
    Ok(command)
}
