//! Runs a program to its end, with a timeout.

use crate::timeout::timeout;
use std::io::{self, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

/// Why a program has no exit status.
#[derive(Debug)]
pub(crate) enum NoExit {
    /// It could not be started, or waiting for it failed.
    NotRun(io::Error),
    /// It still ran after the timeout, and was killed.
    TimedOut,
}

/// Runs a program without input, and returns its exit status and output.
pub(crate) fn output_within(timeout: Duration, command: &mut Command) -> Result<Output, NoExit> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(NoExit::NotRun)?;
    let (stdout, stderr) = (
        read_all(child.stdout.take()).map_err(NoExit::NotRun)?,
        read_all(child.stderr.take()).map_err(NoExit::NotRun)?,
    );
    let status = wait(&mut child, timeout)?;
    // Processes that the program has started may keep the pipes open after it has ended.
    let rest = |pipe: Receiver<Vec<u8>>| pipe.recv_timeout(timeout).unwrap_or_default();
    Ok(Output {
        status,
        stdout: rest(stdout),
        stderr: rest(stderr),
    })
}

fn wait(child: &mut Child, timeout: Duration) -> Result<ExitStatus, NoExit> {
    let begun = Instant::now();
    loop {
        match child.try_wait().map_err(NoExit::NotRun)? {
            Some(status) => return Ok(status),
            None if begun.elapsed() < timeout => thread::sleep(Duration::from_millis(1)),
            None => {
                // Both fail if it has just ended by itself.
                let _ = child.kill();
                let _ = child.wait();
                return Err(NoExit::TimedOut);
            }
        }
    }
}

/// Reads a pipe to its end on a thread, so that the program never waits for a reader.
fn read_all(pipe: Option<impl Read + Send + 'static>) -> io::Result<Receiver<Vec<u8>>> {
    let (send, receive) = channel();
    thread::Builder::new().spawn(move || {
        let mut read = Vec::new();
        if let Some(mut pipe) = pipe {
            // After an error, what was read before it is still useful.
            let _ = pipe.read_to_end(&mut read);
        }
        // The receiver may have timed out.
        let _ = send.send(read);
    })?;
    Ok(receive)
}

/// What a program prints on standard output, such as its version.
pub(crate) fn ask(command: &mut Command) -> Result<String, String> {
    let program = command.get_program().to_string_lossy().into_owned();
    let timeout = timeout();
    match output_within(timeout, command) {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned()),
        Err(NoExit::NotRun(error)) => Err(format!("{program} does not run: {error}")),
        Err(NoExit::TimedOut) => Err(format!(
            "{program} did not answer within {} s",
            timeout.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{NoExit, output_within};
    use std::process::Command;
    use std::time::{Duration, Instant};

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn output_larger_than_a_pipe_is_read_to_its_end() {
        let mut command = shell("head -c 300000 /dev/zero; head -c 300000 /dev/zero >&2; exit 3");
        let output = output_within(Duration::from_secs(60), &mut command).unwrap();
        assert_eq!(
            (output.stdout.len(), output.stderr.len()),
            (300_000, 300_000)
        );
        assert_eq!(output.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_hangs_is_killed_at_the_timeout() {
        let begun = Instant::now();
        let hung = output_within(Duration::from_millis(50), &mut shell("exec sleep 60"));
        assert!(matches!(hung, Err(NoExit::TimedOut)));
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}
