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
/// Work that is being done goes on. The reason is shown wherever the machine is.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb machine hold 67e5 --reason 'a fan is being replaced'")]
pub(crate) struct Hold {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    #[command(flatten)]
    operator: OperatorWithReason,
}

/// Release a machine from its hold.
#[derive(clap::Args)]
#[command(after_long_help = "\
Exit codes: 4 the machine is not on hold")]
pub(crate) struct Release {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    #[command(flatten)]
    operator: Operator,
}

/// Delete a machine with its tags and work items; its history stays.
#[derive(clap::Args)]
#[command(after_long_help = "\
Exit codes: 4 somebody is at work on the machine")]
pub(crate) struct Delete {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    #[command(flatten)]
    operator: OperatorWithReason,
    #[command(flatten)]
    confirm: Confirm,
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
        let session = context.session().await?;
        self.operator.acts().hold(&session, machine).await?;
        context.close_session(session).await;
        report(context, machine, "put on hold")
    }
}

impl Release {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let session = context.session().await?;
        let was_held = self.operator.acts().release_hold(&session, machine).await?;
        context.close_session(session).await;
        if !was_held {
            let message = format!("machine {machine} is not on hold");
            return Err(Failure::new(Exit::Conflict, message));
        }
        report(context, machine, "released")
    }
}

impl Delete {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        self.confirm
            .ask(&format!("Delete machine {machine} with its tags"))
            .await?;
        let session = context.session().await?;
        self.operator
            .acts()
            .delete_machine(&session, machine)
            .await?;
        context.close_session(session).await;
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
