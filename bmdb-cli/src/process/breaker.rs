//! `bmdb process breaker`.

use super::answer::{BreakerValues, show_change};
use super::args::{Due, PerArg, Setting, Time, Window};
use crate::context::Context;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{Page, Report, Text};
use bmdb_model::Process;
use bmdb_model::process_control::{self, Breaker};
use serde::Serialize;

/// Stop a process by itself when too many machines need it or attempts fail.
///
/// A breaker that trips pauses the process, or the provider that it counts, until somebody resumes it. What
/// you leave out stays as it is. The share is one of the machines that the process looks after: for a process
/// that is driven by time those that its workflow lists, for any other one those that have a provider.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb process breaker ShepherdRecovery --per provider --due 5% --due-at-least 5 --failures 20/10m
  bmdb process breaker ShepherdAgentStart --failures 50/10m --resume-after 1h
  bmdb process breaker ShepherdAgentStart --remove

Exit codes: 2 a number is out of range, or the process has no workflow; 3 there is no such process or breaker")]
pub(crate) struct SetBreaker {
    /// The process.
    #[arg(value_name = "PROCESS")]
    process: Process,
    #[command(flatten)]
    per: PerArg,
    /// Trip when more machines need it at once: a share such as 5%, or a number; none: any number may.
    #[arg(long, value_name = "N%|N", allow_hyphen_values = true,
          required_unless_present_any = ["failures", "resume_after", "remove", "due_at_least"])]
    due: Option<Setting<Due>>,
    /// With a share: never trip while at most so many machines need it.
    #[arg(long, value_name = "N", allow_hyphen_values = true)]
    due_at_least: Option<i64>,
    /// Trip when so many attempts fail within a window, such as 20/10m; none: any number may.
    #[arg(long, value_name = "N/WINDOW", allow_hyphen_values = true)]
    failures: Option<Setting<Window>>,
    /// Resume by itself after this time, such as 1h; none: when somebody resumes it.
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    resume_after: Option<Setting<Time>>,
    /// Remove the breaker. A pause that it has caused stays.
    #[arg(long, conflicts_with_all = ["due", "due_at_least", "failures", "resume_after"])]
    remove: bool,
    #[command(flatten)]
    by: Operator,
}

#[derive(Serialize)]
struct Answer {
    process: Text<Process>,
    /// The breaker that is in force now; `None` after its removal.
    breaker: Option<BreakerValues>,
    before: Option<BreakerValues>,
}

impl SetBreaker {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let (per, operator) = (self.per.per, self.by.operator());
        if self.remove {
            let process = self.process;
            let removed = context.with_session(async |session| {
                operator.remove_breaker(session, &process, per).await
            });
            return context.output.report(&Answer {
                before: Some(removed.await?.into()),
                process: Text(process),
                breaker: None,
            });
        }
        let reader = context.reader().await?;
        let process = &self.process;
        let found = reader.read(async |conn| Ok(process_control::of(conn, process).await?));
        let breakers = found.await?.breakers.into_iter().map(|state| state.breaker);
        let before = breakers.into_iter().find(|breaker| breaker.per == per);
        let breaker = self.merged(before.unwrap_or(Breaker::new(per)))?;
        let set = context
            .with_session(async |session| operator.set_breaker(session, process, &breaker).await);
        context.output.report(&Answer {
            before: set.await?.map(BreakerValues::from),
            breaker: Some(breaker.into()),
            process: Text(self.process),
        })
    }

    fn merged(&self, mut breaker: Breaker) -> Result<Breaker, Failure> {
        match self.due {
            None => {}
            Some(Setting::None) => (breaker.max_due, breaker.max_due_percent) = (None, None),
            Some(Setting::Some(Due::Machines(machines))) => {
                (breaker.max_due, breaker.max_due_percent) = (Some(machines), None);
            }
            Some(Setting::Some(Due::Share(share))) => {
                // What was a number for itself is not one beside a share.
                if breaker.max_due_percent.is_none() {
                    breaker.max_due = None;
                }
                breaker.max_due_percent = Some(share);
            }
        }
        if let Some(machines) = self.due_at_least {
            if breaker.max_due_percent.is_none() {
                let message = "--due-at-least is for a breaker on a share of the machines";
                return Err(Failure::usage(message).hint("give the share too, such as --due 5%"));
            }
            breaker.max_due = Some(machines);
        }
        if let Some(failures) = self.failures {
            breaker.max_failures = None;
            if let Setting::Some(Window { count, seconds }) = failures {
                breaker = breaker.max_failures(count, seconds);
            }
        }
        let resumes = Setting::or(self.resume_after, breaker.resume_after_seconds.map(Time));
        breaker.resume_after_seconds = resumes.map(|time| time.0);
        Ok(breaker)
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let in_short = |breaker: &Option<BreakerValues>| {
            let breaker = breaker.as_ref();
            breaker.map(|breaker| (breaker.per.to_string(), breaker.text.clone()))
        };
        let (now, before) = (in_short(&self.breaker), in_short(&self.before));
        show_change(page, &self.process, now, before, "no breaker");
    }
}
