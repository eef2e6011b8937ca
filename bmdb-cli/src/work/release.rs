//! `bmdb work release`: taking work from its holder.

use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::operator::OperatorWithReason;
use crate::output::{Page, Report, Text, Time};
use bmdb_model::{Fence, MachineId, Process, SessionId};
use serde::Serialize;

/// Take work from its holder, so that it can be claimed at once.
///
/// The attempt ends as canceled. Only if it is still the claim with this fence (`bmdb work list` has it): else somebody else would
/// lose it. The holder learns of it when it ends the work, and may act on the machine until then: hold
/// the machine first, or end the session, unless you know that it does not.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb work release 67e5 ShepherdRecovery --if-fence 4711 --reason 'its ssh hangs'

Exit codes: 3 nobody holds it, 4 somebody else does by now")]
pub(crate) struct Release {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
    /// The claim's fence.
    #[arg(long, value_name = "FENCE")]
    if_fence: i64,
    #[command(flatten)]
    operator: OperatorWithReason,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Serialize)]
struct Answer {
    machine_id: Text<MachineId>,
    process: Text<Process>,
    fence: i64,
    /// Who held it.
    session_id: Text<SessionId>,
    started_at: Time,
}

impl Release {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let (process, fence) = (self.process, Fence::new(self.if_fence));
        let what = format!("Take {process} of machine {machine} from its holder (fence {fence})");
        self.confirm.ask(&what).await?;
        let session = context.session().await?;
        let operator = self.operator.acts();
        let released = operator
            .release_work(&session, machine, &process, fence)
            .await?;
        context.close_session(session).await;
        context.output.report(&Answer {
            machine_id: Text(machine),
            process: Text(process),
            fence: fence.get(),
            session_id: Text(released.session),
            started_at: Time(released.started_at),
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(format_args!(
            "released {} of machine {}, which session {} had held since {}",
            self.process, self.machine_id, self.session_id, self.started_at
        ));
    }
}
