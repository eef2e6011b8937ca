//! Documentation in JSON, by the rustdoc of the stable toolchain.

use crate::workspace::Workspace;
use bmdb_shell::{Done, Failure, cargo, run};
use std::env;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

/// The rustdoc that this program runs when cargo runs this program as rustdoc.
const RUSTDOC: &str = "BMDB_API_RUSTDOC";

/// Documents the workspace's libraries with all features. Also its examples, so that the dependencies have
/// the features that clippy has checked them with, and need not be checked again.
pub(crate) fn write_json(workspace: &Workspace) -> Done {
    let this = env::current_exe().map_err(Failure::check)?;
    let rustdoc = env::var_os("RUSTDOC").unwrap_or_else(|| OsString::from("rustdoc"));
    let what = ["doc", "--workspace", "--all-features", "--no-deps"];
    let mut command = cargo(what.into_iter().chain(["--lib", "--examples"]));
    if let Some(manifest) = &workspace.manifest {
        command.arg("--manifest-path").arg(manifest);
    }
    // `cargo doc` without this program is what reports warnings.
    let flags = "-Zunstable-options --output-format=json --cap-lints=allow";
    command.env("RUSTDOCFLAGS", flags);
    run(command.env("RUSTDOC", this).env(RUSTDOC, rustdoc))
}

/// Runs rustdoc with this program's arguments, if cargo started this program as rustdoc.
///
/// The stable rustdoc accepts its unstable flags only with `RUSTC_BOOTSTRAP`. Cargo itself must not
/// have this variable: build scripts of dependencies observe it, so that everything would be
/// compiled again, with nightly features.
pub(crate) fn run_as_rustdoc() -> Option<ExitCode> {
    let mut command = Command::new(env::var_os(RUSTDOC)?);
    command.args(env::args_os().skip(1));
    let status = command.env("RUSTC_BOOTSTRAP", "1").status();
    Some(match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("rustdoc did not start: {error}");
            ExitCode::FAILURE
        }
    })
}
