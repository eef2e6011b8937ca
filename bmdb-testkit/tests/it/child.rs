//! Runs a test again in a child process, to observe how that ends.

use crate::Result;
use bmdb_testkit::Server;
use std::io::Read;
use std::process::{self, Child, Command, Stdio};
use std::time::Duration;
use std::{env, thread};

/// Set in a child process of these tests: how it is to end.
pub(crate) const VARIABLE: &str = "BMDB_TESTKIT_CHILD_DIES_BY";

/// Runs one test of this binary again, in a process that ends in this way.
pub(crate) fn command(test: &str, child: &str) -> Result<Command> {
    let mut command = Command::new(env::current_exe()?);
    command
        .args(["--exact", test, "--nocapture"])
        .env(VARIABLE, child)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    Ok(command)
}

pub(crate) fn child_on(server: &Server, test: &str, dies_by: &str) -> Result<Child> {
    let mut command = command(test, dies_by)?;
    Ok(command
        .env("BMDB_TEST_DATABASE_URL", server.url())
        .spawn()?)
}

/// Reads the child's output up to a line `what=value`, and returns the value.
#[allow(
    clippy::unbuffered_bytes,
    reason = "a buffer would read the next lines as well"
)]
pub(crate) fn read(child: &mut Child, what: &str) -> Result<String> {
    let out = child.stdout.as_mut().ok_or("no output")?;
    let mut line = String::new();
    for byte in out.bytes() {
        match char::from(byte?) {
            '\n' => {
                if let Some((_, value)) = line.split_once(&format!("{what}=")) {
                    return Ok(value.to_owned());
                }
                line.clear();
            }
            other => line.push(other),
        }
    }
    Err(format!("the child did not print {what}").into())
}

#[allow(
    clippy::print_stdout,
    reason = "a child process reports to its test on standard output"
)]
pub(crate) fn print(what: &str, value: &str) {
    println!("{what}={value}");
}

pub(crate) fn die(by: &str) -> ! {
    match by {
        "exit" => process::exit(0),
        "abort" => process::abort(),
        // The parent kills it. If that fails, it ends by itself.
        _ => {
            thread::sleep(Duration::from_secs(30));
            process::exit(1)
        }
    }
}
