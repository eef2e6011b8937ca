//! Starts the project's tools, which cargo builds first.

use bmdb_shell::{Done, cargo, run};
use std::ffi::OsString;

/// The arguments of a tool, which reads them itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Forwarded {
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    arguments: Vec<OsString>,
}

/// Builds and runs a tool; its exit code is the task's.
pub(crate) fn run_tool(package: &str, subcommand: Option<&str>, forwarded: &Forwarded) -> Done {
    let mut command = cargo(["run", "--package", package, "--"]);
    command.args(subcommand).args(&forwarded.arguments);
    run(&mut command)
}
