//! `bmdb process pause`.

use super::answer::PauseAnswer;
use super::args::point;
use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::operator::OperatorWithReason;
use crate::output::{Page, Report, Text, answer};
use crate::run::duration::timeout;
use crate::validate;
use bmdb_core::operator::PauseOptions;
use bmdb_model::process_control::{self, RunningAttempt};
use bmdb_model::{MachineId, Process, Provider, SessionId};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::time::Duration;

/// Pause a process: nothing of it starts until it is resumed.
///
/// Machines stay due and keep their places. A pause of the same machines is replaced. What runs goes on; with
/// --stop-running, `bmdb run` and other control loops ask their programs to stop within seconds, and give the
/// machines back. Programs of earlier versions do not: `bmdb session end` ends them.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb process pause ShepherdAgentStart --provider fra1 --for 2h --reason 'switch replacement'
  bmdb process pause ShepherdRecovery --stop-running --dry-run --reason 'it reboots healthy machines'
  bmdb process pause ShepherdRecovery --until 2026-12-01T06:00:00Z --reason 'frozen over the weekend'

Exit codes: 2 the time has passed, or no machine has the provider; 3 there is no such process")]
pub(crate) struct Pause {
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
    /// Only on machines of this provider.
    #[arg(long, value_name = "NAME")]
    provider: Option<Provider>,
    /// Resume by itself after this time, such as 2h; at most 366 days.
    #[arg(long = "for", value_name = "TIME", value_parser = timeout, conflicts_with = "until")]
    time: Option<Duration>,
    /// Resume by itself at this time, such as 2026-11-22T05:34:25Z.
    #[arg(long, value_name = "TIME", value_parser = point)]
    until: Option<DateTime<Utc>>,
    /// Stop what runs, too, and give the machines back.
    #[arg(long)]
    stop_running: bool,
    /// Show what runs and would be stopped, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    by: OperatorWithReason,
}

#[derive(Serialize)]
struct Answer {
    process: Text<Process>,
    dry_run: bool,
    /// The pause that is in force; `None` in a dry run.
    pause: Option<PauseAnswer>,
    /// The pause that it replaced.
    replaced: Option<PauseAnswer>,
    /// Whether what runs is stopped.
    stop_running: bool,
    /// What runs on its machines.
    running: Vec<Running>,
}

answer! {
    struct Running from attempt: RunningAttempt {
        machine_id: Text<MachineId> = Text(attempt.machine),
        session_id: Text<SessionId> = Text(attempt.session),
        fence: i64 = attempt.fence.get(),
    }
}

impl Pause {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (process, provider) = (&self.process, self.provider.as_ref());
        let reader = context.reader().await?;
        validate::process(reader, Some(process)).await?;
        let running =
            reader.read(async |conn| Ok(process_control::running(conn, process, provider).await?));
        let running: Vec<Running> = running.await?.into_iter().map(Running::from).collect();
        let mut answer = Answer {
            process: Text(process.clone()),
            dry_run: self.dry_run,
            pause: None,
            replaced: None,
            stop_running: self.stop_running,
            running,
        };
        if self.dry_run {
            return context.output.report(&answer);
        }
        if self.stop_running {
            let count = answer.running.len();
            let what = format!("Pause {process} and stop it on {count} machines");
            self.confirm.ask(&what).await?;
        }
        let mut options = PauseOptions::default().stop_running(self.stop_running);
        if let Some(provider) = &self.provider {
            options = options.provider(provider.clone());
        }
        if let Some(time) = self.time {
            options = options.lasting(time);
        }
        if let Some(time) = self.until {
            options = options.until(time);
        }
        let operator = self.by.operator();
        let paused =
            context.with_session(async |session| operator.pause(session, process, &options).await);
        let paused = paused.await?;
        answer.pause = Some(paused.pause.into());
        answer.replaced = paused.replaced.map(PauseAnswer::from);
        context.output.report(&answer)
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let process = &self.process;
        match &self.pause {
            None => page.line(format_args!("{process} would be paused")),
            Some(pause) => page.line(format_args!("{process} is paused: {}", pause.sentence())),
        }
        if let Some(replaced) = &self.replaced {
            page.line(format_args!("before: {}", replaced.sentence()));
        }
        let what = match (self.dry_run, self.stop_running) {
            (_, false) => "goes on",
            (true, true) => "would be stopped",
            (false, true) => "is asked to stop",
        };
        match self.running.len() {
            0 => page.note("Nothing of it runs there."),
            1 => page.note(format_args!("What runs on 1 machine {what}.")),
            count => page.note(format_args!("What runs on {count} machines {what}.")),
        }
    }
}
