//! `bmdb history`: what happened on a machine, and what people did anywhere, newest first.

use crate::context::Context;
use crate::failure::Failure;
use crate::machine_arg::MachineArg;
use crate::output::{Page, Report, Text, Time, Tone, interval};
use crate::paging::{List, Paging, key};
use bmdb_model::history::{self, Entry, Outcome, PastAttempt};
use bmdb_model::operator::Scope;
use bmdb_model::work::HeldWork;
use bmdb_model::{MachineId, Process, SessionId, connection, operator};
use serde::Serialize;
use std::collections::BTreeMap;

/// Show what happened on a machine, newest first: attempts, and acts of people.
///
/// Equal failures in a row are one entry. The history of a deleted machine is there under its whole id.
/// Without a machine: what people did to all of them, who and why.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb history Equinix/8d2b1f0c
  bmdb history 67e5 --process ShepherdRecovery --limit 5
  bmdb history
  bmdb history 67e5 --all --json | jq '.items[] | select(.kind == \"action\")'")]
pub(crate) struct History {
    #[arg(value_name = "MACHINE", help = MachineArg::HELP)]
    machine: Option<MachineArg>,
    /// Only this process, and what was done to the machine as a whole.
    #[arg(long, value_name = "PROCESS", requires = "machine")]
    process: Option<Process>,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Serialize)]
struct Answer {
    at: Time,
    /// `None` where it is what people did to all machines.
    machine_id: Option<Text<MachineId>>,
    #[serde(flatten)]
    list: List<Told>,
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Told {
    /// Work that is being done.
    Ongoing {
        process: Text<Process>,
        session_id: Text<SessionId>,
        component: String,
        fence: i64,
        started_at: Time,
    },
    Attempt(Attempt),
    Action(Action),
}

#[derive(Serialize)]
struct Attempt {
    process: Text<Process>,
    outcome: Text<Outcome>,
    cause: Option<String>,
    session_id: Text<SessionId>,
    fence: i64,
    last_fence: i64,
    started_at: Time,
    ended_at: Time,
    /// How many like it followed the first one of the streak.
    repeats: i64,
    interval_seconds: Option<i64>,
}

/// Something that was done by hand.
#[derive(Serialize)]
pub(crate) struct Action {
    at: Time,
    verb: String,
    operator: String,
    reason: Option<String>,
    machine_id: Option<Text<MachineId>>,
    process: Option<Text<Process>>,
    session_id: Option<Text<SessionId>>,
    fence: Option<i64>,
    details: BTreeMap<String, String>,
}

impl From<operator::Action> for Action {
    fn from(action: operator::Action) -> Self {
        Self {
            at: Time(action.acted_at),
            verb: action.verb,
            operator: action.operator,
            reason: action.reason,
            machine_id: action.machine.map(Text),
            process: action.process.map(Text),
            session_id: action.session.map(Text),
            fence: action.fence.map(bmdb_model::Fence::get),
            details: action.details.into_iter().collect(),
        }
    }
}

impl From<PastAttempt> for Attempt {
    fn from(past: PastAttempt) -> Self {
        Self {
            process: Text(past.process),
            outcome: Text(past.outcome),
            cause: past.cause,
            session_id: Text(past.session),
            fence: past.fence.get(),
            last_fence: past.last_fence.get(),
            started_at: Time(past.started_at),
            ended_at: Time(past.ended_at),
            repeats: past.repeats,
            interval_seconds: past.interval_seconds,
        }
    }
}

impl From<operator::Action> for Told {
    fn from(action: operator::Action) -> Self {
        Self::Action(action.into())
    }
}

impl From<HeldWork> for Told {
    fn from(work: HeldWork) -> Self {
        Self::Ongoing {
            process: Text(work.process),
            session_id: Text(work.session),
            component: work.component,
            fence: work.fence.get(),
            started_at: Time(work.started_at),
        }
    }
}

impl From<Entry> for Told {
    fn from(entry: Entry) -> Self {
        match entry {
            Entry::Ongoing(work) => work.into(),
            Entry::Past(past) => Self::Attempt(past.into()),
            Entry::Action(action) => action.into(),
        }
    }
}

impl History {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let machine = match &self.machine {
            Some(machine) => Some(machine.resolve_also_deleted(context).await?),
            None => None,
        };
        let reader = context.reader().await?;
        let at = reader
            .read(async |conn| Ok(connection::clock(conn).await?))
            .await?;
        let process = self.process.as_ref();
        let of_machine = async |machine, after: Option<String>, limit: u32| {
            let after = key(after.as_deref())?;
            let page = reader.read(async |conn| {
                let after = after.as_ref();
                Ok(history::page(conn, machine, process, after, limit.into()).await?)
            });
            Ok(List::of(page.await?))
        };
        let of_people = async |after: Option<String>, limit: u32| {
            let after = key(after.as_deref())?;
            let page = reader.read(async |conn| {
                Ok(operator::page(conn, Scope::All, after.as_ref(), limit.into()).await?)
            });
            Ok(List::of(page.await?))
        };
        let list = self.paging.list(async |after, limit| match machine {
            Some(machine) => of_machine(machine, after, limit).await,
            None => of_people(after, limit).await,
        });
        context.output.report(&Answer {
            at: Time(at),
            machine_id: machine.map(Text),
            list: list.await?,
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        if self.list.items.is_empty() && self.list.next.is_some() {
            page.note("Nothing so far, and not all has been looked at.");
        } else if self.list.items.is_empty() {
            match &self.machine_id {
                Some(machine) => page.note(format_args!(
                    "Nothing is known to have happened on machine {machine}."
                )),
                None => page.note("Nobody has done anything by hand."),
            }
        }
        for told in &self.list.items {
            match told {
                Told::Ongoing {
                    process,
                    session_id,
                    component,
                    fence,
                    started_at,
                } => {
                    let what = page.paint(Tone::Strong, "at work");
                    page.line(format_args!(
                        "{}  {process}  {what}: {component} (session {session_id}, fence {fence})",
                        started_at.beside(self.at)
                    ));
                }
                Told::Attempt(attempt) => {
                    let line = attempt.told(page, self.at);
                    page.line(line);
                }
                Told::Action(action) if self.machine_id.is_some() => {
                    page.line(action.told(self.at));
                }
                Told::Action(action) => page.line(action.told_with_object(self.at)),
            }
        }
        self.list.show_rest(page);
    }
}

impl Attempt {
    fn told(&self, page: &Page, now: Time) -> String {
        let tone = match self.outcome.0 {
            Outcome::Finished => Tone::Good,
            Outcome::Canceled => Tone::Plain,
            Outcome::Failed | Outcome::Expired => Tone::Bad,
        };
        let mut line = format!(
            "{}  {}  {}",
            self.ended_at.beside(now),
            self.process,
            page.paint(tone, self.outcome)
        );
        if self.repeats > 0 {
            line += &format!(" ×{} since {}", self.repeats + 1, self.started_at);
        }
        if let Some(seconds) = self.interval_seconds {
            line += &format!(", rests {}", interval(seconds));
        }
        if let Some(cause) = &self.cause {
            line += &format!(": {}", crate::output::one_line(cause));
        }
        line + &format!("  (fence {})", self.last_fence)
    }
}

impl Action {
    /// A line about it.
    pub(crate) fn told(&self, now: Time) -> String {
        self.told_of("", now)
    }

    /// A line about it that says to what it was done.
    fn told_with_object(&self, now: Time) -> String {
        let object = match (&self.machine_id, &self.session_id) {
            (Some(machine), _) => format!(" {machine}"),
            (None, Some(session)) => format!(" {session}"),
            (None, None) => String::new(),
        };
        self.told_of(&object, now)
    }

    fn told_of(&self, object: &str, now: Time) -> String {
        let process = self
            .process
            .as_ref()
            .map_or(String::new(), |process| format!(" {process}"));
        let fence = self
            .fence
            .map_or(String::new(), |fence| format!(" fence {fence}"));
        let reason = self
            .reason
            .as_ref()
            .map_or(String::new(), |reason| format!(": {reason}"));
        let details: Vec<String> = self
            .details
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let details = match details.is_empty() {
            true => String::new(),
            false => format!("  [{}]", details.join(", ")),
        };
        let line = format!(
            "{}  {}{object}{process}{fence} by {}{reason}{details}",
            self.at.beside(now),
            self.verb,
            self.operator
        );
        crate::output::one_line(&line)
    }
}
