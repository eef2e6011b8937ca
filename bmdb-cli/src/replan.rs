//! `bmdb replan`: replans the whole fleet.

use crate::context::Context;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{Page, Report};
use bmdb_model::counts;
use serde::Serialize;

/// Replan every machine now.
///
/// This repairs work items after tags were written without bmdb, by hand or by another program. The janitors
/// do the same over a longer time. A machine whose tags are being written at this moment is left to that
/// writer. Control loops continue meanwhile, and interrupting this command loses nothing.
#[derive(clap::Args)]
pub(crate) struct Replan {
    #[command(flatten)]
    by: Operator,
}

#[derive(Serialize)]
struct Answer {
    /// How many machines were replanned.
    planned: u64,
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
        context.output.report(&Answer { planned })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(format_args!("replanned {} machines", self.planned));
    }
}
