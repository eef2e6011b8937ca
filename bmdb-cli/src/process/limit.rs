//! `bmdb process limit`.

use super::answer::{LimitValues, show_change};
use super::args::{Machines, PerArg, Setting, Window};
use crate::context::Context;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{Page, Report, Text};
use bmdb_model::Process;
use bmdb_model::process_control::{self, Limit, Starts};
use serde::Serialize;

/// Limit how much of a process runs at once, and starts within a window.
///
/// The limit holds at once and for every program, whatever its version. What you leave out stays as it is. A
/// limit below what runs stops nothing: nothing starts until less runs. A process may have a limit as a whole
/// and another one per provider; both hold.
///
/// A start counts for the whole window, however it ends. Attempts that have ended before the process had a
/// limit of starts are not counted.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb process limit ShepherdRecovery --per provider --max-running 5 --max-starts 10/10m
  bmdb process limit ShepherdAgentStart --max-running 50
  bmdb process limit ShepherdAgentStart --max-starts none
  bmdb process limit ShepherdAgentStart --remove

Exit codes: 2 a number is out of range, 3 there is no such process or limit, 4 other transactions are in the
way")]
pub(crate) struct SetLimit {
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
    #[command(flatten)]
    per: PerArg,
    /// How many machines are claimed at once, at most 10000; none: any number.
    #[arg(long, value_name = "N", allow_hyphen_values = true, required_unless_present_any = ["max_starts", "remove"])]
    max_running: Option<Setting<Machines>>,
    /// How many attempts start within a window, at most 10000 in 31 days, such as 10/10m; none: any number.
    #[arg(long, value_name = "N/WINDOW", allow_hyphen_values = true)]
    max_starts: Option<Setting<Window>>,
    /// Remove the limit.
    #[arg(long, conflicts_with_all = ["max_running", "max_starts"])]
    remove: bool,
    #[command(flatten)]
    by: Operator,
}

#[derive(Serialize)]
struct Answer {
    process: Text<Process>,
    /// The limit that is in force now; `None` after its removal.
    limit: Option<LimitValues>,
    before: Option<LimitValues>,
}

impl SetLimit {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (process, per, operator) = (self.process, self.per.per, self.by.operator());
        if self.remove {
            let removed = context
                .with_session(async |session| operator.remove_limit(session, &process, per).await);
            let before = Some(removed.await?.into());
            let limit = None;
            let process = Text(process);
            return context.output.report(&Answer {
                process,
                limit,
                before,
            });
        }
        let reader = context.reader().await?;
        let found = reader.read(async |conn| Ok(process_control::of(conn, &process).await?));
        let limits = found.await?.limits.into_iter().map(|state| state.limit);
        let before = limits.into_iter().find(|limit| limit.per == per);
        let limit = merged(
            before.unwrap_or(Limit::new(per)),
            self.max_running,
            self.max_starts,
        );
        let set = context
            .with_session(async |session| operator.set_limit(session, &process, &limit).await);
        context.output.report(&Answer {
            before: set.await?.map(LimitValues::from),
            process: Text(process),
            limit: Some(limit.into()),
        })
    }
}

fn merged(
    before: Limit,
    running: Option<Setting<Machines>>,
    starts: Option<Setting<Window>>,
) -> Limit {
    let mut limit = before;
    let machines = Setting::or(running, limit.max_running.map(Machines));
    let window = |starts: Starts| Window {
        count: starts.count,
        seconds: starts.window_seconds,
    };
    let starts = Setting::or(starts, limit.max_starts.map(window));
    limit.max_running = machines.map(|machines| machines.0);
    limit.max_starts = None;
    match starts {
        None => limit,
        Some(Window { count, seconds }) => limit.max_starts(count, seconds),
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let in_short = |limit: &Option<LimitValues>| {
            let limit = limit.as_ref();
            limit.map(|limit| (limit.per.to_string(), limit.text.clone()))
        };
        let (now, before) = (in_short(&self.limit), in_short(&self.before));
        show_change(page, &self.process, now, before, "no limit");
    }
}
