//! `bmdb machine hold`, `release` and `delete`.

use crate::confirm::Confirm;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::operator::{Operator, OperatorWithReason};
use crate::output::{Page, Report, Text};
use bmdb_model::{MachineId, Process};
use serde::Serialize;

/// Put a machine on hold: nothing new starts on it until it is released.
///
/// Claimed work continues. The reason is shown wherever the machine is shown. With --process, only that
/// process does not start there.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb machine hold 67e5 --reason 'a fan is being replaced'
  bmdb machine hold 67e5 --process ShepherdRecovery --reason 'its BMC does not answer'")]
pub(crate) struct Hold {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    /// Only this process.
    #[arg(long, value_name = "PROCESS")]
    process: Option<Process>,
    #[command(flatten)]
    by: OperatorWithReason,
}

/// Release a machine that is on hold, or one process there.
#[derive(clap::Args)]
#[command(after_long_help = "\
Exit codes: 4 the machine, or the process on it, is not on hold")]
pub(crate) struct Release {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    /// Only this process, which is on hold there; a hold of the machine stays.
    #[arg(long, value_name = "PROCESS")]
    process: Option<Process>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    process: Option<Text<Process>>,
    #[serde(skip)]
    done: &'static str,
}

impl Hold {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let operator = self.by.operator();
        let process = self.process.as_ref();
        let held = context.with_session(async |session| match process {
            None => operator.hold(session, machine).await,
            Some(process) => operator.hold_process(session, machine, process).await,
        });
        held.await?;
        report(context, machine, self.process, "put on hold")
    }
}

impl Release {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let operator = self.by.operator();
        let process = self.process.as_ref();
        let released = context.with_session(async |session| match process {
            None => operator.release_hold(session, machine).await,
            Some(process) => {
                let released = operator.release_process_hold(session, machine, process);
                released.await
            }
        });
        if !released.await? {
            let message = match process {
                None => format!("machine {machine} is not on hold"),
                Some(process) => format!("{process} is not on hold on machine {machine}"),
            };
            return Err(Failure::new(Exit::Conflict, message));
        }
        report(context, machine, self.process, "released")
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
        report(context, machine, None, "deleted")
    }
}

fn report(
    context: &Context,
    machine: MachineId,
    process: Option<Process>,
    done: &'static str,
) -> Result<(), Failure> {
    context.output.report(&Answer {
        machine_id: Text(machine),
        process: process.map(Text),
        done,
    })
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let of = match &self.process {
            Some(process) => format!("{process} of "),
            None => String::new(),
        };
        page.line(format_args!(
            "{of}machine {}: {}",
            self.machine_id, self.done
        ));
    }
}
