//! A child process that sees other mounts, or another clock, than this one.

use crate::Result;
use std::ffi::OsString;
use std::process::{Command, Stdio};

/// Runs the command where `unshare` with these options, and then the script, have changed what it
/// sees. Nothing where that is not permitted, which is said on standard error.
pub(crate) fn command(options: &[&str], script: &str, inner: &Command) -> Result<Option<Command>> {
    let may = Command::new("unshare")
        .args(options)
        .args(["sh", "-c", script])
        .output();
    match may {
        Ok(output) if output.status.success() => {}
        why => {
            not_tested(&format!("`unshare {}` says {why:?}", options.join(" ")));
            return Ok(None);
        }
    }
    let mut command = Command::new("unshare");
    command
        .args(options)
        .args(["sh", "-c", &format!("{script}\nexec \"$@\""), "namespace"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    Ok(Some(command))
}

/// A path as a word of a script.
pub(crate) fn quoted(path: &std::path::Path) -> String {
    let mut quoted = OsString::from("'");
    quoted.push(path);
    quoted.push("'");
    quoted.to_string_lossy().into_owned()
}

#[allow(clippy::print_stderr, reason = "a test that cannot run here says so")]
fn not_tested(why: &str) {
    eprintln!("\n==== NOT TESTED: needs root, or more of its rights: {why} ====\n");
}
