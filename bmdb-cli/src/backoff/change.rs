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
Exit codes: 3 there is no such backoff, 4 somebody is at work on it")]
pub(crate) struct Change {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
    #[command(flatten)]
    operator: OperatorWithReason,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Serialize)]
struct Answer {
    machine_id: Text<MachineId>,
    process: Text<Process>,
    /// What it was.
    until: Option<Time>,
    failures: i64,
    losses: i64,
    cause: Option<String>,
}

impl Change {
    pub(crate) async fn clear(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let what = format!("Clear the backoff of {} on machine {machine}", self.process);
        self.confirm.ask(&what).await?;
        let session = context.session().await?;
        let operator = self.operator.acts();
        let was = operator
            .clear_backoff(&session, machine, &self.process)
            .await?;
        context.close_session(session).await;
        context.output.report(&answer(machine, self.process, was))
    }

    /// Nothing is lost by it, so it does not ask.
    pub(crate) async fn retry_now(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let session = context.session().await?;
        let operator = self.operator.acts();
        let was = operator.retry_now(&session, machine, &self.process).await?;
        context.close_session(session).await;
        context.output.report(&answer(machine, self.process, was))
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
        let until = self.until.map(|until| format!(", rested until {until}"));
        page.line(format_args!(
            "{} may be tried on machine {} at once: it had {} and {} in a row{}",
            self.process,
            self.machine_id,
            count(self.failures, "failure", "failures"),
            count(self.losses, "loss", "losses"),
            until.unwrap_or_default()
        ));
    }
}

fn count(number: i64, one: &str, several: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {several}"),
    }
}
