//! `bmdb process off` and `bmdb process on`.

use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{Page, Report, Text};
use crate::validate;
use bmdb_model::Process;
use bmdb_model::process_control::{self, Need};
use serde::Serialize;

/// Switch a process off that the fleet does not use: no machine is due for it.
///
/// Its items leave the lists and alerts. What runs goes on. The whole fleet is replanned. This changes the
/// definition of the process: the database user must be a member of bmdb_owner, as for `bmdb migrate up`.
/// Programs that define the process themselves are refused until it is on again.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb process off ShepherdRecovery --dry-run
  bmdb process off ShepherdRecovery --reason 'the provider recovers machines itself'

Exit codes: 2 the process has no workflow, 3 there is no such process, 4 it is off already, 7 the database user
may not write definitions")]
pub(crate) struct Off {
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
    /// Show how many machines would not be due any more, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    confirm: Confirm,
    #[command(flatten)]
    by: Operator,
}

/// Switch a process on again that was switched off.
///
/// It is defined as it was, and the whole fleet is replanned: machines may be due at once. Set a limit first if
/// many are; --dry-run says how many.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb process on ShepherdRecovery --dry-run
  bmdb process on ShepherdRecovery

Exit codes: 3 there is no such process, 4 it is not off, 7 the database user may not write definitions")]
pub(crate) struct On {
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
    /// Show how many machines would be due, and do nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    by: Operator,
}

#[derive(Serialize)]
struct Answer {
    process: Text<Process>,
    state: &'static str,
    dry_run: bool,
    /// How many machines its workflow lists.
    listed: Option<i64>,
    /// How many of them need it now.
    due: Option<i64>,
    /// How many machines were replanned; `None` in a dry run.
    planned: Option<u64>,
}

impl Off {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let process = &self.process;
        let need = need(context, process).await?;
        if self.dry_run {
            return report(context, process, "off", need, None);
        }
        let due = need.map_or(0, |need| need.due);
        let what = format!("Switch {process} off, which {due} machines need now");
        self.confirm.ask(&what).await?;
        let operator = self.by.operator();
        let switched =
            context.with_session(async |session| operator.switch_off(session, process).await);
        report(context, process, "off", need, Some(switched.await?))
    }
}

impl On {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let process = &self.process;
        let need = need(context, process).await?;
        if self.dry_run {
            return report(context, process, "on", need, None);
        }
        let operator = self.by.operator();
        let switched =
            context.with_session(async |session| operator.switch_on(session, process).await);
        report(context, process, "on", need, Some(switched.await?))
    }
}

/// What its workflow lists, whether it is on or off; `None` without one.
async fn need(context: &Context, process: &Process) -> Result<Option<Need>, Failure> {
    let reader = context.reader().await?;
    validate::process(reader, Some(process)).await?;
    let need = reader.read(async |conn| {
        let found = process_control::of(conn, process).await?;
        match found.workflow.or(found.off_workflow) {
            None => Ok(None),
            Some(workflow) => Ok(Some(process_control::need(conn, &workflow).await?)),
        }
    });
    Ok(need.await?)
}

fn report(
    context: &Context,
    process: &Process,
    state: &'static str,
    need: Option<Need>,
    planned: Option<u64>,
) -> Result<(), Failure> {
    context.output.report(&Answer {
        process: Text(process.clone()),
        state,
        dry_run: planned.is_none(),
        listed: need.map(|need| need.listed),
        due: need.map(|need| need.due),
        planned,
    })
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let (process, state) = (&self.process, self.state);
        match self.planned {
            Some(planned) => page.line(format_args!(
                "{process} is {state}; replanned {planned} machines"
            )),
            None => page.line(format_args!("{process} would be {state}")),
        }
        if let (Some(listed), Some(due)) = (self.listed, self.due) {
            page.note(format_args!(
                "Its workflow lists {listed} machines, of which {due} need it now."
            ));
        }
    }
}
