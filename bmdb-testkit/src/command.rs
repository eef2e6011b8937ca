//! Running a program to its end, but not for ever.

use crate::TestkitError;
use crate::limit::limit;
use std::io::{self, Read};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Why a program came to no end of its own.
#[derive(Debug)]
pub(crate) enum NoEnd {
    /// It could not be started, or not be waited for.
    NotRun(io::Error),
    /// It was still running after the limit, and was killed.
    TooLong,
}

/// Runs a program without input and returns what it printed.
pub(crate) fn output_within(limit: Duration, command: &mut Command) -> Result<Output, NoEnd> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(NoEnd::NotRun)?;
    let (stdout, stderr) = (
        all_of(child.stdout.take()).map_err(NoEnd::NotRun)?,
        all_of(child.stderr.take()).map_err(NoEnd::NotRun)?,
    );
    let status = wait(&mut child, limit)?;
    // What the program has started may hold the pipes open when it is gone itself.
    let rest = |pipe: Receiver<Vec<u8>>| pipe.recv_timeout(limit).unwrap_or_default();
    Ok(Output {
        status,
        stdout: rest(stdout),
        stderr: rest(stderr),
    })
}

fn wait(child: &mut Child, limit: Duration) -> Result<std::process::ExitStatus, NoEnd> {
    let begun = Instant::now();
    loop {
        match child.try_wait().map_err(NoEnd::NotRun)? {
            Some(status) => return Ok(status),
            None if begun.elapsed() < limit => thread::sleep(Duration::from_millis(1)),
            None => {
                // It may have ended just now, which is as good.
                let _ = child.kill();
                let _ = child.wait();
                return Err(NoEnd::TooLong);
            }
        }
    }
}

/// Reads a pipe to its end, so that the program never waits for a reader.
fn all_of(pipe: Option<impl Read + Send + 'static>) -> io::Result<Receiver<Vec<u8>>> {
    let (send, receive) = channel();
    thread::Builder::new().spawn(move || {
        let mut read = Vec::new();
        if let Some(mut pipe) = pipe {
            // What was read before an error is told.
            let _ = pipe.read_to_end(&mut read);
        }
        // Whoever wanted it may have given up.
        let _ = send.send(read);
    })?;
    Ok(receive)
}

/// Runs a step's program within the kit's limit; `who` may not be able to run it.
pub(crate) fn run(step: &str, who: &str, mut command: Command) -> Result<(), TestkitError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let limit = limit();
    let output = output_within(limit, &mut command).map_err(|error| match error {
        NoEnd::NotRun(error) => TestkitError::boot(
            step,
            format!("{program}: {error}; {who} must be able to reach and run it"),
        ),
        NoEnd::TooLong => TestkitError::TimedOut {
            what: format!("{program} ({step})"),
            limit,
        },
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    // A few lines of many: cp repeats itself for every file once a disk is full.
    let said = said.trim().lines().take(5).collect::<Vec<_>>().join("\n");
    Err(TestkitError::boot(
        step,
        format!("{program} ended with {}: {said}", output.status),
    ))
}

/// What a program prints on standard output when it is asked something, such as its version.
pub(crate) fn ask(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let limit = limit();
    match output_within(limit, command) {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(NoEnd::NotRun(error)) => Err(format!("{program} does not run: {error}")),
        Err(NoEnd::TooLong) => Err(format!(
            "{program} did not answer within {} s",
            limit.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{NoEnd, output_within};
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_that_prints_more_than_a_pipe_holds_is_heard_out() {
        let mut command = shell("head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; exit 3");
        let output = output_within(Duration::from_secs(60), &mut command).unwrap();
        assert_eq!(
            (output.stdout.len(), output.stderr.len()),
            (300_000, 300_000)
        );
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_hangs_is_killed_at_the_limit() {
        let begun = Instant::now();
        let hung = output_within(Duration::from_millis(50), &mut shell("exec sleep 60"));
        assert!(matches!(hung, Err(NoEnd::TooLong)));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
