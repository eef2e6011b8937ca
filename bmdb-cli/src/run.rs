//! `bmdb run`: a control loop around any command.

mod child;
mod command;
mod duration;
mod events;
mod listen;
mod process_group;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::metrics::Metrics;
use crate::validate;
use bmdb_backoff::Backoff;
use bmdb_core::control_loop::{LoopError, LoopOptions, Rate, Runner, Shutdown};
use bmdb_core::{Bmdb, HistoryDetail, Reader, SessionOptions};
use bmdb_model::tag::{TagName, UnknownTag};
use bmdb_model::{Process, Provider};
use clap::{Args, ValueEnum};
use command::Commands;
use duration::{duration, limit};
use events::Events;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// How long the runner waits for a group of processes that has been killed.
const BURIAL: Duration = Duration::from_secs(2);

/// Run a command for each machine that is due: a control loop.
///
/// Claims machines that are due for a process and runs `sh -c COMMAND` for each of them, while nobody
/// else may act on it. The command finds the machine in its environment, and as JSON on standard input:
/// BMDB_MACHINE_ID, BMDB_PROVIDER, BMDB_PROVIDER_ID, BMDB_ADDRESS, BMDB_PROCESS, BMDB_ATTEMPT and
/// BMDB_FENCE, a number to hand on to whatever it orders about: smaller ones are to be refused there.
///
/// How it exits decides: 0 finishes the work; 75 gives the machine back without a verdict; anything else
/// is a failure, with the last line of standard error as cause, after which the machine rests for the
/// next interval of the backoff. It runs in a process group of its own, which is told to end (SIGTERM)
/// and then killed when its time is up, when the lease is lost, and when this program has to leave.
/// What a command leaves running in its group when it exits is killed too.
///
/// SIGTERM, SIGINT (Ctrl-C), SIGQUIT and SIGHUP (unless it was started with that ignored, as by nohup):
/// nothing more is claimed, commands that run may end within --drain-timeout. A second one ends them at
/// once. Should this program itself be killed (SIGKILL), its commands go on: run it under a supervisor
/// that ends the whole control group, as systemd does.
#[derive(Args)]
#[command(after_long_help = "\
Examples:
  bmdb run --process ShepherdAgentStart --provider Equinix \\
      --exec './start-agent.sh' --set-agent-started-from-stdout \\
      --backoff initial=5m,max=4h,factor=1.2,jitter=full --timeout 10m
  bmdb run --process ShepherdRecovery --exec './reboot.sh' --on-success-unset agent_started --once")]
pub(crate) struct Run {
    /// The process whose due machines are worked on.
    #[arg(long, value_name = "PROCESS")]
    process: Process,
    /// Only machines of this provider; may be given several times. Without it a claim costs more the
    /// more machines are due.
    #[arg(long = "provider", value_name = "PROVIDER")]
    providers: Vec<Provider>,
    /// What to run for a machine, by `sh -c`.
    #[arg(long, value_name = "COMMAND", value_parser = command_line)]
    exec: String,
    /// How many machines to work on at once.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..))]
    parallelism: u32,
    /// How long a machine rests after a failure.
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "initial=1m,max=4h,factor=2"
    )]
    backoff: Backoff,
    /// How long a command may run before it has failed; as long as it does without this.
    #[arg(long, value_name = "TIME", value_parser = limit)]
    timeout: Option<Duration>,
    /// How long a command, with all it has started in its group, has to end after SIGTERM, before
    /// SIGKILL. Keep it well below the loss delay of the process, 15 s unless defined otherwise: once the
    /// lease is lost, somebody else may act on the machine after that, and at most 10 s are granted.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    grace: Duration,
    /// How long commands may take to end when this program is told to.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    drain_timeout: Duration,
    /// How long a machine is kept that a command gave back with 75, so that it is not tried again at
    /// once; with --once until all is done.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration)]
    cancel_pause: Duration,
    /// Work on what is due now, each machine once, then exit.
    #[arg(long)]
    once: bool,
    /// How often the database is asked for machines at most: so many a second or minute, and so many at
    /// once. Each provider counts.
    #[arg(long, value_name = "RATE", default_value_t)]
    rate: Rate,
    /// The lease: how long the machines of this program stay locked when it dies.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration)]
    interval: Duration,
    /// Store standard output, trimmed, as the public key of the agent that the command has started.
    #[arg(long)]
    set_agent_started_from_stdout: bool,
    /// Unset a tag of the machine when the command has succeeded, or release its `hold`; may be given
    /// several times. `bmdb tag list` has the tags.
    #[arg(long, value_name = "TAG")]
    on_success_unset: Vec<Unset>,
    /// An exit code that means "never again until somebody has looked": the work has failed, and the machine
    /// is put on hold with the cause as reason; may be given several times.
    #[arg(long, value_name = "CODE", value_parser = hold_exit)]
    hold_exit: Vec<u8>,
    /// What the history keeps: repeated failures folded into one row, or every attempt.
    #[arg(long, value_name = "WHAT", value_enum, default_value_t = Keep::Folded)]
    history: Keep,
    /// The name of this component in the list of sessions.
    /// Default: bmdb-run-PROCESS.
    #[arg(long, value_name = "NAME")]
    component: Option<String>,
    #[command(flatten)]
    metrics: Metrics,
}

/// What a success takes from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unset {
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

/// What the history keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keep {
    Folded,
    Full,
}

/// A command that does something: an empty one, as from a variable that is not set, would finish all
/// work there is.
fn command_line(text: &str) -> Result<String, String> {
    match text.trim().is_empty() {
        true => Err("there is no command in it".to_owned()),
        false => Ok(text.to_owned()),
    }
}

impl Run {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let shutdown = Shutdown::on_signals()
            .map_err(|error| Failure::other(format!("listening for signals: {error}")))?;
        let history = match self.history {
            Keep::Folded => HistoryDetail::Folded,
            Keep::Full => HistoryDetail::Full,
        };
        let config = context
            .config()
            .component(match &self.component {
                Some(name) => name.clone(),
                // Loops that are told from one another, in lists and in metrics, without being asked to.
                None => format!("bmdb-run-{}", self.process),
            })
            .pool_size(5)
            // Who holds machines frees those of others that have died.
            .janitor_interval(Some(Duration::from_secs(1)))
            .history(history);
        let events = Events::start(context.output, self.process.clone(), shutdown.clone());
        let events =
            events.map_err(|error| Failure::other(format!("the program cannot start: {error}")))?;
        let events = Arc::new(events);
        let _metrics = self.metrics.show(|line| events.note(line)).await?;
        let bmdb = Bmdb::connect(config)
            .await
            .map_err(|error| context.explain(error))?;
        self.warn_of_unknown_providers(context).await;
        let options = LoopOptions::default()
            .parallelism(self.parallelism)
            .rate(Some(self.rate))
            .timeout(self.timeout)
            .grace(self.grace + BURIAL)
            .drain_limit(self.drain_timeout)
            .cancel_pause(self.cancel_pause)
            .session(SessionOptions::default().interval(self.interval))
            .once(self.once);
        let commands = Commands::new(self, events.clone(), context.verbose);
        let ran = Runner::new(&bmdb, commands)
            .options(options)
            .run(shutdown)
            .await;
        if let Err(error) = bmdb.drain(Duration::ZERO).await {
            tracing::debug!(%error, "closing");
        }
        events.close(ran.as_ref().ok()).await;
        ran.map(|_| ()).map_err(Failure::from)
    }
}

impl Run {
    /// A loop for a provider without machines waits for ever, and nothing else says so.
    async fn warn_of_unknown_providers(&self, context: &Context) {
        if self.providers.is_empty() {
            return;
        }
        let checked = async {
            // It is gone when this is done, for a loop goes on for long.
            let reader = Reader::connect(context.config().pool_size(1)).await?;
            validate::providers(&reader, &self.providers).await?;
            Ok::<_, Failure>(())
        };
        if let Err(error) = checked.await {
            tracing::debug!(%error, "looking for the providers");
        }
    }
}

/// An exit code that has no other meaning.
fn hold_exit(text: &str) -> Result<u8, String> {
    match text.parse() {
        Ok(0) => Err("0 is success".to_owned()),
        Ok(75) => Err("75 gives the machine back without a verdict".to_owned()),
        Ok(code) => Ok(code),
        Err(_) => Err("an exit code is a number from 1 to 255".to_owned()),
    }
}

impl From<LoopError> for Failure {
    fn from(error: LoopError) -> Self {
        match error {
            LoopError::Session(error) => error.into(),
            LoopError::Claim(error) => error.into(),
            LoopError::NoWorkflow { .. } => Self::new(Exit::NotFound, error.to_string()),
            error => Self::usage(error.to_string()),
        }
    }
}
