//! `bmdb replan`: planning the whole fleet anew.

use crate::context::Context;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{Page, Report};
use bmdb_model::counts;
use serde::Serialize;

/// Plan every machine anew, now.
///
/// It repairs what was written past the planner, by hand or by a program of your own. The janitors do the
/// same slowly, so it is for those who do not want to wait. Machines whose tags somebody is just writing
/// are left to that writer. Control loops go on working meanwhile; interrupting it loses nothing.
#[derive(clap::Args)]
pub(crate) struct Replan {
    #[command(flatten)]
    operator: Operator,
}

#[derive(Serialize)]
struct Answer {
    /// How many machines were looked at.
    planned: u64,
}

impl Replan {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let reader = context.reader().await?;
        let fleet = reader.read(async |conn| Ok(counts::fleet(conn).await?));
        let machines = u64::try_from(fleet.await?.machines).ok();
        let mut progress = context.output.progress("planning machines", machines);
        let bmdb = context.bmdb().await?;
        let session = context.session().await?;
        let planned = self
            .operator
            .acts()
            .replan(&session, bmdb, |planned| progress.set(planned))
            .await?;
        context.close_session(session).await;
        drop(progress);
        context.output.report(&Answer { planned })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        page.line(format_args!("planned {} machines", self.planned));
    }
}
