//! Tests that run again in a process of their own, to watch it die.

use crate::Result;
use bmdb_testkit::Server;
use std::io::Read;
use std::process::{self, Child, Command, Stdio};
use std::time::Duration;
use std::{env, thread};

/// Set in a child process of these tests to how it is to die.
pub(crate) const VARIABLE: &str = "BMDB_TESTKIT_CHILD_DIES_BY";

/// Runs one test of this binary again, in a process that dies in this way.
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

/// What the child has to say after `what=`. What follows that line is left to be read.
#[allow(
    clippy::unbuffered_bytes,
    reason = "a buffer would take the next line away"
)]
pub(crate) fn hear(child: &mut Child, what: &str) -> Result<String> {
    let out = child.stdout.as_mut().ok_or("no output")?;
    let mut line = String::new();
    for byte in out.bytes() {
        match char::from(byte?) {
            '\n' => {
                if let Some((_, said)) = line.split_once(&format!("{what}=")) {
                    return Ok(said.to_owned());
                }
                line.clear();
            }
            other => line.push(other),
        }
    }
    Err(format!("the child never said {what}").into())
}

#[allow(clippy::print_stdout, reason = "how a child process talks to its test")]
pub(crate) fn say(what: &str, value: &str) {
    println!("{what}={value}");
}

pub(crate) fn die(by: &str) -> ! {
    match by {
        "exit" => process::exit(0),
        "abort" => process::abort(),
        // By its parent's hand; should that have failed, it is no orphan for long.
        _ => {
            thread::sleep(Duration::from_secs(30));
            process::exit(1)
        }
    }
}
