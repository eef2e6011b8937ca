//! Running the command for a machine, and what its exit means.

use super::child::Job;
use super::events::Events;
use super::listen::Heard;
use super::process_group::Group;
use super::{Run, Unset};
use bmdb_backoff::Backoff;
use bmdb_core::Work;
use bmdb_core::control_loop::{Commit, ControlLoop, Event, Failure, Machine};
use bmdb_model::{AgentStarted, Process, Provider};
use futures_util::FutureExt;
use futures_util::future::FusedFuture;
use nix::sys::signal::Signal;
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};

/// `EX_TEMPFAIL` of sysexits.h: try again later.
const NO_VERDICT: i32 = 75;

/// The longest public key; what is longer is none.
const LONGEST_KEY: usize = 64 * 1024;

/// How long is waited for the last words of a command that has ended: what has left its group may keep
/// its standard error open for ever.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The control loop around a command.
pub(super) struct Commands {
    run: Run,
    events: Arc<Events>,
    /// Whether what commands print is passed on.
    passes_on: bool,
}

/// A command that has ended by itself.
struct Ended {
    status: ExitStatus,
    stdout: Heard,
    stderr: Heard,
}

impl Commands {
    pub(super) fn new(run: Run, events: Arc<Events>, verbose: u8) -> Self {
        Self {
            run,
            events,
            passes_on: verbose > 0,
        }
    }

    fn command(&self, job: &Job<'_>) -> Command {
        let mut command = Command::new("sh");
        command
            .args(["-c", &self.run.exec])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        job.put_into_environment_of(&mut command);
        command
    }

    /// Runs until the command ends, or `None` when it was told to before it did.
    async fn run_to_end(&self, mut child: Child, json: &[u8], machine: &Machine) -> Option<Ended> {
        let mut group = Group::of(&child);
        let (stdin, out, err) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (mut stdout, mut stderr) = (Heard::default(), Heard::default());
        let id = machine.id.to_string();
        let pass_on = |line: &str| {
            if self.passes_on {
                self.events.pass_on(&id, line);
            }
        };
        let keeps_key = self.run.set_agent_started_from_stdout;
        let unless_key = |line: &str| {
            if !keeps_key {
                pass_on(line);
            }
        };
        let status = {
            // Fused, for it may end before the command does: that is free to close what it prints to.
            let mut hearing = pin!(
                async {
                    let stdout = stdout.listen(out, LONGEST_KEY, unless_key);
                    tokio::join!(tell(stdin, json), stdout, stderr.listen(err, 0, pass_on));
                }
                .fuse()
            );
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    () = &mut hearing, if !hearing.is_terminated() => {}
                    () = machine.stop().cancelled() => {
                        self.end(&group, &mut child, hearing).await;
                        group.kill();
                        // Reaped, so that nothing of it is left when the work is given back.
                        drop(child.wait().await);
                        return None;
                    }
                }
            };
            group.kill();
            if !hearing.is_terminated() {
                drop(tokio::time::timeout(LAST_WORDS, hearing).await);
            }
            status.ok()?
        };
        Some(Ended {
            status,
            stdout,
            stderr,
        })
    }

    /// Tells the group to end, and hears it out for as long as it may take, though not beyond the grace.
    async fn end(&self, group: &Group, child: &mut Child, hearing: impl FusedFuture) {
        let hearing = async {
            if !hearing.is_terminated() {
                hearing.await;
            }
            std::future::pending::<()>().await;
        };
        let gone = async {
            drop(child.wait().await);
            // The grace is for all of it: a shell without a trap ends before what it runs.
            group.gone().await;
        };
        tokio::select! {
            () = group.end(self.run.grace) => {}
            () = gone => {}
            () = hearing => {}
        }
    }

    fn judge(&self, ended: Ended, machine: &Machine) -> Result<Commit, Failure> {
        match ended.status.code() {
            Some(0) => self.commit(ended.stdout, machine),
            Some(NO_VERDICT) => Err(Failure::cancel()),
            code => {
                let cause = cause(ended.status, ended.stderr.last_line());
                let holds = |code| self.run.hold_exit.contains(&code);
                match code.and_then(|code| u8::try_from(code).ok()) {
                    Some(code) if holds(code) => Err(Failure::hold(cause)),
                    _ => Err(Failure::new(cause)),
                }
            }
        }
    }

    /// What a success writes.
    fn commit(&self, stdout: Heard, machine: &Machine) -> Result<Commit, Failure> {
        let started = match self.run.set_agent_started_from_stdout {
            false => None,
            true if stdout.is_longer => {
                return Err(
                    format!("it printed more than {LONGEST_KEY} bytes, no public key").into(),
                );
            }
            true => match stdout.beginning.trim_ascii() {
                b"" => return Err("it printed no public key on standard output".into()),
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
        let job = Job::new(work, machine);
        let child = match self.command(&job).spawn() {
            Ok(child) => child,
            // This computer's fault, which no machine is to pay for.
            Err(error) => {
                tracing::error!(%error, "sh cannot be started");
                return Err(Failure::cancel());
            }
        };
        match self.run_to_end(child, &job.json(), machine).await {
            Some(ended) => self.judge(ended, machine),
            None => Err(Failure::cancel()),
        }
    }

    fn on_event(&self, event: &Event<'_>) {
        self.events.show(event);
    }
}

/// A command that does not read what it is told is as good as one that does.
async fn tell(stdin: Option<ChildStdin>, json: &[u8]) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(json).await;
    }
}

/// Why a command has failed, in its own words as far as there are any.
fn cause(status: ExitStatus, last_line: Option<&str>) -> String {
    let signal = |number: i32| match Signal::try_from(number) {
        Ok(signal) => format!("killed by {signal}"),
        Err(_) => format!("killed by signal {number}"),
    };
    match (status.signal(), status.code(), last_line) {
        (Some(number), _, None) => signal(number),
        (Some(number), _, Some(line)) => format!("{}: {line}", signal(number)),
        (None, _, Some(line)) => line.to_owned(),
        // How a shell says that its command was killed.
        (None, Some(code @ 129..), None) if Signal::try_from(code - 128).is_ok() => {
            format!("{} (exit code {code})", signal(code - 128))
        }
        (None, Some(code), None) => {
            format!("exit code {code}, with nothing on standard error")
        }
        (None, None, None) => "it ended in an unknown way".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_the_last_line_or_says_how_it_ended() {
        let exited = |code: i32| ExitStatus::from_raw(code << 8);
        let killed = ExitStatus::from_raw;
        for (status, line, told) in [
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
            assert_eq!(cause(status, line), told);
        }
    }
}
