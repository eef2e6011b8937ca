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

#[derive(clap::Args)]
#[command(after_long_help = "\
Exit codes: 3 there is no such backoff, 4 a session has claimed the machine")]
pub(crate) struct Change {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
    #[command(flatten)]
    by: OperatorWithReason,
    #[command(flatten)]
    confirm: Confirm,
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

impl Change {
    pub(crate) async fn clear(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let process = self.process;
        let what = format!("Clear the backoff of {process} on machine {machine}");
        self.confirm.ask(&what).await?;
        let operator = self.by.operator();
        let cleared = context
            .with_session(async |session| operator.clear_backoff(session, machine, &process).await);
        let was = cleared.await?;
        context.output.report(&answer(machine, process, was))
    }

    /// Does not ask for confirmation, because it loses nothing.
    pub(crate) async fn retry_now(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let (process, operator) = (self.process, self.by.operator());
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
