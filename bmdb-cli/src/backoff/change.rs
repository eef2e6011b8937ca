//! `bmdb backoff clear` and `bmdb backoff retry-now`.

use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::operator::OperatorWithReason;
use crate::output::{Page, Report, Text, Time};
use bmdb_model::backoff::LockedBackoff;
use bmdb_model::{MachineId, Process};
use serde::Serialize;

const EXIT_CODES: &str =
    "Exit codes: 3 there is no such backoff, 4 a session has claimed the machine";

/// Clear a backoff, and restart its sequence.
///
/// The machine is due at once if its tags call for the process. Its next failure is the first of a new
/// sequence.
#[derive(clap::Args)]
#[command(after_long_help = EXIT_CODES)]
pub(crate) struct Clear {
    #[command(flatten)]
    change: Change,
}

/// End a backoff now, and keep its sequence.
///
/// The machine is due at once if its tags call for the process. After another failure the next interval is
/// longer than the last.
#[derive(clap::Args)]
#[command(after_long_help = EXIT_CODES)]
pub(crate) struct RetryNow {
    #[command(flatten)]
    change: Change,
}

#[derive(clap::Args)]
struct Change {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    by: OperatorWithReason,
}

/// The backoff as it was.
#[derive(Serialize)]
struct Answer {
    machine_id: Text<MachineId>,
    process: Text<Process>,
    until: Option<Time>,
    failures: i64,
    losses: i64,
    cause: Option<String>,
}

impl Clear {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let change = self.change;
        let machine = change.machine.resolve(context).await?;
        let process = change.process;
        let what = format!("Clear the backoff of {process} on machine {machine}");
        change.confirm.ask(&what).await?;
        let operator = change.by.operator();
        let cleared = context
            .with_session(async |session| operator.clear_backoff(session, machine, &process).await);
        let was = cleared.await?;
        context.output.report(&answer(machine, process, was))
    }
}

impl RetryNow {
    /// Does not ask for confirmation, because it loses nothing.
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let change = self.change;
        let machine = change.machine.resolve(context).await?;
        let (process, operator) = (change.process, change.by.operator());
        let ended = context
            .with_session(async |session| operator.retry_now(session, machine, &process).await);
        let was = ended.await?;
        context.output.report(&answer(machine, process, was))
    }
}

fn answer(machine: MachineId, process: Process, was: LockedBackoff) -> Answer {
    Answer {
        machine_id: Text(machine),
        process: Text(process),
        until: was.until.map(Time),
        failures: was.failures,
        losses: was.losses,
        cause: was.cause,
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let until = self.until.map(|until| format!("until {until}, "));
        page.line(format_args!(
            "backoff of {} on machine {} ended; it was {}after {} and {} in a row",
            self.process,
            self.machine_id,
            until.unwrap_or_default(),
            count(self.failures, "failure", "failures"),
            count(self.losses, "loss", "losses"),
        ));
    }
}

fn count(number: i64, one: &str, several: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {several}"),
    }
}
