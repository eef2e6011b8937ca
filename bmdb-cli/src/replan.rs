//! `bmdb replan`: replans the whole fleet.

use crate::context::Context;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{Page, Report, Text, Tone};
use bmdb_model::plan::{BrokenWorkflow, PlanFailure};
use bmdb_model::{MachineId, Process, counts, plan};
use serde::Serialize;

/// Replan every machine now.
///
/// This repairs work items after tags were written without bmdb, by hand or by another program. The janitors
/// do the same over a longer time. A machine whose tags are being written at this moment is left to that
/// writer. Control loops continue meanwhile, and interrupting this command loses nothing. A workflow that
/// fails for a machine leaves its item there as it was; this command lists the workflows that fail.
#[derive(clap::Args)]
pub(crate) struct Replan {
    #[command(flatten)]
    by: Operator,
}

#[derive(Serialize)]
struct Answer {
    /// How many machines were replanned.
    planned: u64,
    /// The processes whose workflows fail, each with one machine for which it does.
    not_plannable: Vec<NotPlannable>,
}

#[derive(Serialize)]
struct NotPlannable {
    process: Text<Process>,
    workflow: String,
    machine_id: Text<MachineId>,
    error: String,
}

impl From<PlanFailure> for NotPlannable {
    fn from(failure: PlanFailure) -> Self {
        let BrokenWorkflow {
            process,
            workflow,
            machine,
            error,
            ..
        } = failure.broken;
        Self {
            process: Text(process),
            workflow,
            machine_id: Text(machine),
            error,
        }
    }
}

impl Replan {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let reader = context.reader().await?;
        let fleet = reader.read(async |conn| Ok(counts::fleet(conn).await?));
        let machines = u64::try_from(fleet.await?.machines).ok();
        let mut progress = context.output.progress("replanning machines", machines);
        let (bmdb, operator) = (context.bmdb().await?, self.by.operator());
        let replanned = context.with_session(async |session| {
            let replan = operator.replan(session, bmdb, |machines| progress.set(machines));
            replan.await
        });
        let planned = replanned.await?;
        drop(progress);
        let failures = reader.read(async |conn| Ok(plan::failures(conn).await?));
        let not_plannable = failures.await?.into_iter().map(Into::into).collect();
        context.output.report(&Answer {
            planned,
            not_plannable,
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(format_args!("replanned {} machines", self.planned));
        for NotPlannable {
            process,
            workflow,
            machine_id,
            error,
        } in &self.not_plannable
        {
            let text = format!(
                "{process} is not plannable: view {workflow} fails for machine {machine_id}: {error}"
            );
            page.painted_line(Tone::Bad, text);
        }
    }
}
