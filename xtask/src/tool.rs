//! Starts the project's tools, which cargo builds first.

use bmdb_shell::{Done, Failure, as_typed, tool};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;

/// The arguments of a tool, which parses them itself.
#[derive(Debug, clap::Args)]
pub(crate) struct Forwarded {
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    arguments: Vec<OsString>,
}

/// Builds a tool and replaces this process by it: the tool gets signals and sets the exit code itself.
pub(crate) fn become_tool(name: &str, task: Option<&str>, forwarded: &Forwarded) -> Done {
    eprintln!("building {name}: some minutes the first time, seconds later");
    let mut command = tool(name)?;
    command.args(task).args(&forwarded.arguments);
    eprintln!("$ {}", as_typed(&command));
    Err(Failure::check(command.exec()))
}
