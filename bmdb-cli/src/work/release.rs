//! `bmdb work release`: takes claimed work from its session.

use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::operator::OperatorWithReason;
use crate::output::{Page, Report, Text, Time};
use bmdb_model::{Fence, MachineId, Process, SessionId};
use serde::Serialize;

/// Release claimed work, so that it can be claimed again at once.
///
/// The attempt ends as canceled. --if-fence names the claim (`bmdb work list` shows its fence), so that a
/// newer claim is never released by mistake. The session that claimed the work notices when it ends the
/// work, and may act on the machine until then. To prevent that, put the machine on hold first, or end the
/// session.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb work release 67e5 ShepherdRecovery --if-fence 4711 --reason 'its ssh hangs'

Exit codes: 3 the work is not claimed, 4 it is claimed with another fence")]
pub(crate) struct Release {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: MachineArg,
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
    /// The fence of the claim.
    #[arg(long, value_name = "FENCE")]
    if_fence: i64,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    by: OperatorWithReason,
}

#[derive(Serialize)]
struct Answer {
    machine_id: Text<MachineId>,
    process: Text<Process>,
    fence: i64,
    /// The session that had claimed it.
    session_id: Text<SessionId>,
    started_at: Time,
}

impl Release {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = self.machine.resolve(context).await?;
        let (process, fence) = (self.process, Fence::new(self.if_fence));
        let what = format!("Release {process} on machine {machine} (fence {fence})");
        self.confirm.ask(&what).await?;
        let operator = self.by.operator();
        let released = context.with_session(async |session| {
            operator
                .release_work(session, machine, &process, fence)
                .await
        });
        let released = released.await?;
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
            "released {} on machine {}; session {} had claimed it at {}",
            self.process, self.machine_id, self.session_id, self.started_at
        ));
    }
}
