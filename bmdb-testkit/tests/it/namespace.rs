//! A child process that sees other mounts, or another clock, than this one.

use crate::Result;
use std::ffi::OsString;
use std::process::{Command, Stdio};

/// Wraps the command: `unshare` with these options, and then the script, change what it sees. `None` if
/// that is not permitted, with a message on standard error.
pub(crate) fn command(options: &[&str], script: &str, inner: &Command) -> Result<Option<Command>> {
    let permitted = Command::new("unshare")
        .args(options)
        .args(["sh", "-c", script])
        .output();
    match permitted {
        Ok(output) if output.status.success() => {}
        result => {
            not_tested(&format!(
                "`unshare {}` returned {result:?}",
                options.join(" ")
            ));
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

/// Quotes a path for a script.
pub(crate) fn quoted(path: &std::path::Path) -> String {
    let mut quoted = OsString::from("'");
    quoted.push(path);
    quoted.push("'");
    quoted.to_string_lossy().into_owned()
}

#[allow(
    clippy::print_stderr,
    reason = "a test that cannot run here prints why"
)]
fn not_tested(why: &str) {
    eprintln!("\n==== NOT TESTED: needs root, or more of its privileges: {why} ====\n");
}
