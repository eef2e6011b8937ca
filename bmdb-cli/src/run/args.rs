//! The arguments of `bmdb run`.

use super::duration::{duration, time, timeout};
use crate::metrics::Metrics;
use bmdb_backoff::Backoff;
use bmdb_core::HistoryDetail;
use bmdb_core::control_loop::Rate;
use bmdb_model::tag::{TagName, UnknownTag};
use bmdb_model::{Process, Provider};
use clap::{Args, ValueEnum};
use std::str::FromStr;
use std::time::Duration;

/// Run a command for each machine that is due: a control loop.
///
/// Claims machines that are due for a process, and runs `sh -c COMMAND` for each of them. While the command
/// runs, no other session can claim the machine. The command gets the machine as JSON on standard input and
/// in the environment: BMDB_MACHINE_ID, BMDB_PROVIDER, BMDB_PROVIDER_ID, BMDB_ADDRESS, BMDB_PROCESS,
/// BMDB_ATTEMPT and BMDB_FENCE. Pass the fence to the systems that the command controls, so that they can
/// refuse commands with a smaller one.
///
/// The exit code of the command decides. 0 finishes the work; if the machine is still due then, it rests. 75
/// cancels it: the machine is released without a backoff. 79 snoozes the machine: it rests for --snooze-for,
/// and nothing counts as a failure. 80 is a failure that puts only this process on hold on the machine. 81
/// pauses the process on all machines of the provider for --pause-for. 82 says that this host cannot do it:
/// the machine is released for other hosts, and this program waits, as it does if it cannot start the command.
/// Any other code is a failure: its cause
/// is the last line of standard error, as for 80 and 81, and the machine backs off. The command runs in a process group of its own. The group gets SIGTERM and then SIGKILL when
/// the timeout has passed, when the lease is lost, and when this program has to stop. Processes that a
/// command leaves in its group are killed when it exits.
///
/// A host that cannot start the command claims one machine at a time, after delays that double up to 5 minutes.
/// With --once the program gives up after three such failures in a row, with exit code 8.
///
/// After SIGTERM, SIGINT (Ctrl-C), SIGQUIT or SIGHUP (unless SIGHUP was ignored at the start, as by nohup)
/// nothing more is claimed, and running commands may finish within --drain-timeout. A second signal ends
/// them at once. Before the first connection to the database, a signal ends the program with 128 and its number.
/// If this program is killed with SIGKILL, its commands continue: run it under a supervisor
/// that ends the whole control group, such as systemd.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bmdb run --process ShepherdAgentStart --provider fra1 \\
      --exec './start-agent.sh' --set-agent-started-from-stdout \\
      --backoff initial=5m,max=4h,factor=1.2,jitter=full --timeout 10m
  bmdb run --process ShepherdRecovery --exec './reboot.sh' --on-success-unset agent_started --once")]
pub(crate) struct Run {
    /// The process whose due machines are claimed.
    #[arg(long, value_name = "PROCESS")]
    pub(super) process: Process,
    /// Only machines of this provider; can be repeated. Without it, claims get slower the more machines are
    /// due.
    #[arg(long = "provider", value_name = "PROVIDER")]
    pub(super) providers: Vec<Provider>,
    /// The command for each machine, run with `sh -c`.
    #[arg(long, value_name = "COMMAND", value_parser = command_line)]
    pub(super) exec: String,
    /// How many machines are worked on at the same time.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    pub(super) parallelism: u32,
    /// How long a machine backs off after a failure.
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "initial=1m,max=4h,factor=2"
    )]
    pub(super) backoff: Backoff,
    /// How long a command may run before it counts as failed; default: no limit.
    #[arg(long, value_name = "TIME", value_parser = timeout)]
    pub(super) timeout: Option<Duration>,
    /// The time between SIGTERM and SIGKILL for a command and its process group. Keep it well below the
    /// reclaim delay of the process (15 s by default): when the lease is lost, another session may act on
    /// the machine after that delay, so at most 10 s are granted then.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(super) grace: Duration,
    /// How long running commands may continue after this program got a signal.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(super) drain_timeout: Duration,
    /// How long a machine rests after its command exited with 75, so that it is not tried again at once.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    pub(super) cancel_pause: Duration,
    /// How long a machine rests after its command exited with 79.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    pub(super) snooze_for: Duration,
    /// How long the process is paused for the machine's provider after a command exited with 81.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = time)]
    pub(super) pause_for: Duration,
    /// Work on the machines that are due now, each one once, then exit.
    #[arg(long)]
    pub(super) once: bool,
    /// The rate limit of queries for machines per second or minute, and the burst. Each provider counts.
    #[arg(long, value_name = "RATE", default_value_t)]
    pub(super) rate: Rate,
    /// The length of the lease: how long machines stay claimed if this program dies.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub(super) interval: Duration,
    /// Store standard output, trimmed, as the public key of the agent that the command has started.
    #[arg(long)]
    pub(super) set_agent_started_from_stdout: bool,
    /// Unset this tag of the machine when the command has succeeded, or release the machine's `hold`; can be
    /// repeated. `bmdb tag list` lists the tags.
    #[arg(long, value_name = "TAG")]
    pub(super) on_success_unset: Vec<Unset>,
    /// Treat this exit code as a failure that puts the machine on hold, with the cause as the reason; can be
    /// repeated.
    #[arg(long, value_name = "CODE", value_parser = hold_exit)]
    pub(super) hold_exit: Vec<u8>,
    /// What the history retains: repeated failures folded into one row, or every attempt.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Retain::Folded)]
    pub(super) history: Retain,
    /// The component's name in the list of sessions; default: bmdb-run-PROCESS.
    #[arg(long, value_name = "NAME")]
    pub(super) component: Option<String>,
    #[command(flatten)]
    pub(super) metrics: Metrics,
}

/// What a success removes from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unset {
    Tag(TagName),
    Hold,
}

impl FromStr for Unset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "hold" {
            return Ok(Self::Hold);
        }
        let tag = text.parse().map(Self::Tag);
        tag.map_err(|unknown: UnknownTag| format!("{unknown}, and hold"))
    }
}

/// What the history retains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Retain {
    Folded,
    Full,
}

impl From<Retain> for HistoryDetail {
    fn from(retain: Retain) -> Self {
        match retain {
            Retain::Folded => Self::Folded,
            Retain::Full => Self::Full,
        }
    }
}

/// Refuses an empty command, such as one from a variable that is not set: it would finish all work.
fn command_line(text: &str) -> Result<String, String> {
    match text.trim().is_empty() {
        true => Err("the command is empty".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// Refuses exit codes that have another meaning.
fn hold_exit(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(0) => Err("0 means success".to_owned()),
        Ok(75) => Err("75 cancels the work without a backoff".to_owned()),
        Ok(79) => Err("79 snoozes the machine".to_owned()),
        Ok(80) => Err("80 puts only this process on hold".to_owned()),
        Ok(81) => Err("81 pauses the provider".to_owned()),
        Ok(82) => Err("82 means that this host cannot process the machine".to_owned()),
        Ok(code) => Ok(code),
        Err(_) => Err("expected an exit code from 1 to 255".to_owned()),
    }
}
