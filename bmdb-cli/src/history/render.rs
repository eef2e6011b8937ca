//! What is told of a history, entry by entry.

use crate::output::{Page, Text, Time, Tone, interval};
use bmdb_model::history::{Entry, Outcome, PastAttempt};
use bmdb_model::work::ClaimedWork;
use bmdb_model::{MachineId, Process, SessionId, operator};
use serde::Serialize;
use std::collections::BTreeMap;

/// What all entries of a list are about, so that none of them says it again.
pub(super) enum About {
    Machine(MachineId),
    Session(SessionId),
    Everything,
}

impl About {
    /// That there is no entry.
    pub(super) fn nothing(&self) -> String {
        match self {
            Self::Machine(machine) => {
                format!("Nothing is known to have happened on machine {machine}.")
            }
            Self::Session(session) => {
                format!("Session {session} is not known to have ended any attempt.")
            }
            Self::Everything => "Nobody has done anything by hand.".to_owned(),
        }
    }
}

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Told {
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
pub(super) struct Attempt {
    machine_id: Text<MachineId>,
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
            machine_id: Text(past.machine),
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

impl From<PastAttempt> for Told {
    fn from(past: PastAttempt) -> Self {
        Self::Attempt(past.into())
    }
}

impl From<operator::Action> for Told {
    fn from(action: operator::Action) -> Self {
        Self::Action(action.into())
    }
}

impl From<ClaimedWork> for Told {
    fn from(work: ClaimedWork) -> Self {
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
            Entry::Past(past) => past.into(),
            Entry::Action(action) => action.into(),
        }
    }
}

impl Told {
    /// A line about it, in a list of what is about `about`.
    pub(super) fn line(&self, about: &About, page: &Page, now: Time) -> String {
        match self {
            Self::Ongoing {
                process,
                session_id,
                component,
                fence,
                started_at,
            } => {
                let what = page.paint(Tone::Strong, "at work");
                format!(
                    "{}  {process}  {what}: {component} (session {session_id}, fence {fence})",
                    started_at.beside(now)
                )
            }
            Self::Attempt(attempt) => attempt.told(about, page, now),
            Self::Action(action) => match about {
                About::Everything => action.told_with_object(now),
                _ => action.told(now),
            },
        }
    }
}

impl Attempt {
    fn told(&self, about: &About, page: &Page, now: Time) -> String {
        let tone = match self.outcome.0 {
            Outcome::Finished => Tone::Good,
            Outcome::Canceled => Tone::Plain,
            Outcome::Failed | Outcome::Expired => Tone::Bad,
        };
        let machine = match about {
            About::Machine(_) => String::new(),
            _ => format!("{}  ", self.machine_id),
        };
        let mut line = format!(
            "{}  {machine}{}  {}",
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
