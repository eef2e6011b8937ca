//! `bmdb machine hold`, `release` and `delete`.

use crate::confirm::Confirm;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::operator::{Operator, OperatorWithReason};
use crate::output::{Page, Report, Text};
use bmdb_model::MachineId;
use serde::Serialize;

/// Put a machine on hold: nothing new starts on it until it is released.
///
/// Claimed work continues. The reason is shown wherever the machine is shown.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb machine hold 67e5 --reason 'a fan is being replaced'")]
pub(crate) struct Hold {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    #[command(flatten)]
    by: OperatorWithReason,
}

/// Release a machine that is on hold.
#[derive(clap::Args)]
#[command(after_long_help = "\
Exit codes: 4 the machine is not on hold")]
pub(crate) struct Release {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    #[command(flatten)]
    by: Operator,
}

/// Delete a machine with its tags and work items; its history stays.
#[derive(clap::Args)]
#[command(after_long_help = "\
Exit codes: 4 a session has claimed the machine")]
pub(crate) struct Delete {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    by: OperatorWithReason,
}

#[derive(Serialize)]
struct Answer {
    machine_id: Text<MachineId>,
    #[serde(skip)]
    done: &'static str,
}

impl Hold {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let operator = self.by.operator();
        let held = context.with_session(async |session| operator.hold(session, machine).await);
        held.await?;
        report(context, machine, "put on hold")
    }
}

impl Release {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let operator = self.by.operator();
        let released =
            context.with_session(async |session| operator.release_hold(session, machine).await);
        if !released.await? {
            let message = format!("machine {machine} is not on hold");
            return Err(Failure::new(Exit::Conflict, message));
        }
        report(context, machine, "released")
    }
}

impl Delete {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let what = format!("Delete machine {machine} with its tags");
        self.confirm.ask(&what).await?;
        let operator = self.by.operator();
        let deleted =
            context.with_session(async |session| operator.delete_machine(session, machine).await);
        deleted.await?;
        report(context, machine, "deleted")
    }
}

fn report(context: &Context, machine: MachineId, done: &'static str) -> Result<(), Failure> {
    context.output.report(&Answer {
        machine_id: Text(machine),
        done,
    })
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(format_args!("machine {}: {}", self.machine_id, self.done));
    }
}
