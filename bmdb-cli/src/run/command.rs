//! Runs the command for a machine, and maps its exit code to the outcome of the attempt.

use super::args::{Run, Unset};
use super::child::ChildInput;
use super::events::Events;
use super::process_group::ProcessGroup;
use super::program;
use super::stream::StreamReader;
use crate::context::Context;
use crate::reaper::{OwnChild, Reaper};
use bmdb_backoff::Backoff;
use bmdb_core::Work;
use bmdb_core::control_loop::{Commit, ControlLoop, Event, Failure, Machine};
use bmdb_model::column::Column;
use bmdb_model::{AgentStarted, Process, Provider};
use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use nix::sys::signal::Signal;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

/// `EX_TEMPFAIL` of sysexits.h: try again later.
const EXIT_CANCELED: i32 = 75;

/// The machine rests for a while. The numbers of sysexits.h end at 78.
const EXIT_SNOOZED: i32 = 79;

/// Only this process is put on hold on the machine.
const EXIT_HOLDS_PROCESS: i32 = 80;

/// The process is paused for the machine's provider.
const EXIT_PAUSES_PROVIDER: i32 = 81;

/// The host cannot process the machine.
const EXIT_HOST_FAILED: i32 = 82;

/// The longest public key in bytes.
const MAX_KEY: usize = Column::PUBLIC_KEY.maximum_bytes;

/// How long the output of a command is read after it has exited. A process that left the group may keep
/// standard error open for ever.
const OUTPUT_TIMEOUT: Duration = Duration::from_secs(1);

/// The control loop around a command.
pub(super) struct Commands {
    run: Run,
    events: Arc<Events>,
    reaper: Reaper,
    /// Whether the output of commands is printed on standard error.
    prints_output: bool,
}

/// A command that exited without being stopped.
struct Exited {
    status: ExitStatus,
    stdout: StreamReader,
    stderr: StreamReader,
}

impl Commands {
    pub(super) fn new(run: Run, events: Arc<Events>, context: &Context) -> Self {
        Self {
            run,
            events,
            reaper: context.reaper.clone(),
            prints_output: context.verbose > 0,
        }
    }

    fn command(&self, input: &ChildInput<'_>) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &self.run.exec])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        input.set_environment(&mut command);
        command
    }

    /// Runs until the command exits; `None` if it was stopped before that.
    async fn run_to_exit(
        &self,
        mut own: OwnChild,
        json: &[u8],
        machine: &Machine,
    ) -> Option<Exited> {
        let child = &mut own.child;
        let mut group = ProcessGroup::of(child);
        let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut stdout, mut stderr) = (StreamReader::default(), StreamReader::default());
        let id = machine.id.to_string();
        let print = |line: &str| {
            if self.prints_output {
                self.events.command_output(&id, line);
            }
        };
        let is_key = self.run.set_agent_started_from_stdout;
        let print_unless_key = |line: &str| {
            if !is_key {
                print(line);
            }
        };
        let status = {
            // Fused, because a command may close its output before it exits.
            let mut output = pin!(
                async {
                    let stdout = stdout.read(out, MAX_KEY, print_unless_key);
                    tokio::join!(write(stdin, json), stdout, stderr.read(err, 0, print));
                }
                .fuse()
            );
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    () = &mut output, if !output.is_terminated() => {}
                    () = machine.stop().cancelled() => {
                        self.stop(&group, child, output).await;
                        group.kill();
                        // Reaped, so that no process is left when the machine is released.
                        drop(child.wait().await);
                        return None;
                    }
                }
            };
            group.kill();
            if !output.is_terminated() {
                drop(tokio::time::timeout(OUTPUT_TIMEOUT, output).await);
            }
            status.ok()?
        };
        // Those that are still open.
        stdout.end(print_unless_key);
        stderr.end(print);
        Some(Exited {
            status,
            stdout,
            stderr,
        })
    }

    /// Sends SIGTERM to the group, and reads its output until it has exited or the grace period is over.
    async fn stop(&self, group: &ProcessGroup, child: &mut Child, output: impl FusedFuture) {
        let output = async {
            if !output.is_terminated() {
                output.await;
            }
            std::future::pending::<()>().await;
        };
        let exited = async {
            drop(child.wait().await);
            // The whole group gets the grace period: a shell without a trap exits before its children.
            group.exited().await;
        };
        tokio::select! {
            () = group.terminate(self.run.grace) => {}
            () = exited => {}
            () = output => {}
        }
    }

    fn outcome(&self, exited: Exited, machine: &Machine) -> Result<Commit, Failure> {
        match exited.status.code() {
            Some(0) => self.commit(exited.stdout, machine),
            Some(EXIT_CANCELED) => Err(Failure::cancel()),
            Some(EXIT_SNOOZED) => Err(Failure::snooze(self.run.snooze_for)),
            code => {
                let cause = cause(exited.status, exited.stderr.last_line());
                match code {
                    Some(EXIT_HOST_FAILED) => return Err(Failure::host(cause)),
                    Some(EXIT_HOLDS_PROCESS) => return Err(Failure::hold_process(cause)),
                    Some(EXIT_PAUSES_PROVIDER) => {
                        return Err(Failure::pause_provider(self.run.pause_for, cause));
                    }
                    _ => {}
                }
                let holds = |code| self.run.hold_exit.contains(&code);
                match code.and_then(|code| u8::try_from(code).ok()) {
                    Some(code) if holds(code) => Err(Failure::hold(cause)),
                    _ => Err(Failure::new(cause)),
                }
            }
        }
    }

    /// Why the host cannot start the command, if it exited as a shell does that cannot.
    async fn why_not_started(&self, status: ExitStatus) -> Option<String> {
        program::why_not_started(&self.run.exec, status.code()?, &self.reaper).await
    }

    /// What a success writes.
    fn commit(&self, stdout: StreamReader, machine: &Machine) -> Result<Commit, Failure> {
        let started = match self.run.set_agent_started_from_stdout {
            false => None,
            true if stdout.is_longer => {
                return Err(format!(
                    "standard output is longer than a public key: {MAX_KEY} bytes"
                )
                .into());
            }
            true => match stdout.beginning.trim_ascii() {
                b"" => return Err("no public key on standard output".into()),
                key => Some(AgentStarted::now(key)),
            },
        };
        let unset = self.run.on_success_unset.clone();
        if unset.is_empty() {
            return Ok(started.map_or_else(Commit::unchanged, Commit::agent_started));
        }
        let id = machine.id;
        Ok(Commit::tags(async move |tx| {
            for tag in unset {
                match tag {
                    Unset::Tag(tag) => tx.unset_tag(id, tag).await?,
                    Unset::Hold => tx.release_hold(id).await?,
                };
            }
            match &started {
                Some(started) => tx.set_agent_started(id, started).await,
                None => Ok(()),
            }
        }))
    }
}

impl ControlLoop for Commands {
    fn workflow(&self) -> Process {
        self.run.process.clone()
    }

    fn providers(&self) -> Vec<Provider> {
        self.run.providers.clone()
    }

    fn backoff(&self) -> Backoff {
        self.run.backoff
    }

    async fn process(&self, work: &Work, machine: &Machine) -> Result<Commit, Failure> {
        let input = ChildInput::new(work, machine);
        let own = match self.reaper.spawn(&mut self.command(&input)) {
            Ok(own) => own,
            Err(error) => return Err(not_started(&error)),
        };
        let Some(exited) = self.run_to_exit(own, &input.json(), machine).await else {
            return Err(Failure::cancel());
        };
        if let Some(problem) = self.why_not_started(exited.status).await {
            return Err(Failure::host(problem));
        }
        self.outcome(exited, machine)
    }

    fn on_event(&self, event: &Event<'_>) {
        self.events.show(event);
    }
}

/// The failure of an attempt whose shell could not be started.
fn not_started(error: &io::Error) -> Failure {
    let cause = format!("cannot start sh: {error}");
    match error.kind() {
        // The values of this machine are too long for an environment.
        io::ErrorKind::ArgumentListTooLong | io::ErrorKind::InvalidInput => Failure::new(cause),
        // No shell, no processes, no open files, no memory.
        _ => Failure::host(cause),
    }
}

/// Writes the JSON. An error only means that the command does not read its standard input.
async fn write(stdin: Option<ChildStdin>, json: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(json).await;
    }
}

/// The cause of a failure: the last line of standard error, or else the exit status.
fn cause(status: ExitStatus, last_line: Option<&str>) -> String {
    let signal = |number: i32| match Signal::try_from(number) {
        Ok(signal) => format!("killed by {signal}"),
        Err(_) => format!("killed by signal {number}"),
    };
    match (status.signal(), status.code(), last_line) {
        (Some(number), _, None) => signal(number),
        (Some(number), _, Some(line)) => format!("{}: {line}", signal(number)),
        (None, _, Some(line)) => line.to_owned(),
        // A shell exits with 128 + the signal if its command was killed.
        (None, Some(code @ 129..), None) if Signal::try_from(code - 128).is_ok() => {
            format!("{} (exit code {code})", signal(code - 128))
        }
        (None, Some(code), None) => {
            format!("exit code {code}, with nothing on standard error")
        }
        (None, None, None) => "unknown exit status".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_the_last_line_or_else_the_exit_status() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let killed = ExitStatus::from_raw;
        for (status, line, expected) in [
            (exited(1), Some("no power"), "no power"),
            (
                exited(1),
                None,
                "exit code 1, with nothing on standard error",
            ),
            (exited(139), None, "killed by SIGSEGV (exit code 139)"),
            (
                exited(255),
                None,
                "exit code 255, with nothing on standard error",
            ),
            (killed(11), None, "killed by SIGSEGV"),
            (killed(9), Some("busy"), "killed by SIGKILL: busy"),
            (killed(40), None, "killed by signal 40"),
        ] {
            assert_eq!(cause(status, line), expected);
        }
    }
}
