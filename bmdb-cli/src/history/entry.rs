//! Entry of a history: claimed work, an attempt that has ended, or an operator action.

use super::subject::Subject;
use crate::output::{Line, Text, Time, Tone, answer, interval};
use bmdb_model::history::{self, Outcome, PastAttempt};
use bmdb_model::work::ClaimedWork;
use bmdb_model::{Fence, MachineId, Process, SessionId, operator};
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Entry {
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

answer! {
    pub(super) struct Attempt from past: PastAttempt {
        machine_id: Text<MachineId> = Text(past.machine),
        process: Text<Process> = Text(past.process),
        outcome: Text<Outcome> = Text(past.outcome),
        cause: Option<String> = past.cause,
        session_id: Text<SessionId> = Text(past.session),
        fence: i64 = past.fence.get(),
        last_fence: i64 = past.last_fence.get(),
        started_at: Time = Time(past.started_at),
        ended_at: Time = Time(past.ended_at),
        /// How many equal attempts followed the first one.
        repeats: i64 = past.repeats,
        interval_seconds: Option<i64> = past.interval_seconds,
    }
}

answer! {
    /// An operator action.
    pub(crate) struct Action from action: operator::Action {
        at: Time = Time(action.acted_at),
        verb: String = action.verb,
        operator: String = action.operator,
        reason: Option<String> = action.reason,
        machine_id: Option<Text<MachineId>> = action.machine.map(Text),
        process: Option<Text<Process>> = action.process.map(Text),
        session_id: Option<Text<SessionId>> = action.session.map(Text),
        fence: Option<i64> = action.fence.map(Fence::get),
        details: BTreeMap<String, String> = action.details.into_iter().collect(),
    }
}

impl From<operator::Action> for Entry {
    fn from(action: operator::Action) -> Self {
        Self::Action(action.into())
    }
}

impl From<PastAttempt> for Entry {
    fn from(past: PastAttempt) -> Self {
        Self::Attempt(past.into())
    }
}

impl From<ClaimedWork> for Entry {
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

impl From<history::Entry> for Entry {
    fn from(entry: history::Entry) -> Self {
        match entry {
            history::Entry::Ongoing(work) => work.into(),
            history::Entry::Past(past) => past.into(),
            history::Entry::Action(action) => action.into(),
        }
    }
}

impl Entry {
    /// A line for people, without what the subject of the history says already.
    pub(super) fn render(&self, subject: Subject, now: Time) -> Line {
        match self {
            Self::Ongoing {
                process,
                session_id,
                component,
                fence,
                started_at,
            } => Line::new()
                .plain(format_args!("{}  {process}  ", started_at.beside(now)))
                .toned(Tone::Strong, "claimed")
                .plain(format_args!(
                    " by {component} (session {session_id}, fence {fence})"
                )),
            Self::Attempt(attempt) => attempt.render(subject, now),
            Self::Action(action) => Line::new().plain(match subject {
                Subject::Operators => action.render_with_object(now),
                _ => action.render(now),
            }),
        }
    }
}

impl Attempt {
    fn render(&self, subject: Subject, now: Time) -> Line {
        let tone = match self.outcome.0 {
            Outcome::Finished => Tone::Good,
            Outcome::Canceled => Tone::Plain,
            Outcome::Failed | Outcome::Expired => Tone::Bad,
        };
        let machine = match subject {
            Subject::Machine(_) => String::new(),
            _ => format!("{}  ", self.machine_id),
        };
        let before = format!("{}  {machine}{}  ", self.ended_at.beside(now), self.process);
        let mut after = String::new();
        if self.repeats > 0 {
            let times = self.repeats.saturating_add(1);
            after += &format!(" ×{times} since {}", self.started_at);
        }
        if let Some(seconds) = self.interval_seconds {
            after += &format!(", backs off for {}", interval(seconds));
        }
        if let Some(cause) = &self.cause {
            after += &format!(": {cause}");
        }
        after += &format!("  (fence {})", self.last_fence);
        Line::new()
            .plain(before)
            .toned(tone, self.outcome)
            .plain(after)
    }
}

impl Action {
    /// A line for people.
    pub(crate) fn render(&self, now: Time) -> String {
        self.render_on("", now)
    }

    /// A line for people that names the machine or the session.
    fn render_with_object(&self, now: Time) -> String {
        let object = match (&self.machine_id, &self.session_id) {
            (Some(machine), _) => format!(" {machine}"),
            (None, Some(session)) => format!(" {session}"),
            (None, None) => String::new(),
        };
        self.render_on(&object, now)
    }

    fn render_on(&self, object: &str, now: Time) -> String {
        let mut line = format!("{}  {}{object}", self.at.beside(now), self.verb);
        if let Some(process) = &self.process {
            line += &format!(" {process}");
        }
        if let Some(fence) = self.fence {
            line += &format!(" fence {fence}");
        }
        line += &format!(" by {}", self.operator);
        if let Some(reason) = &self.reason {
            line += &format!(": {reason}");
        }
        if !self.details.is_empty() {
            let details = self.details.iter();
            let details = details.map(|(name, value)| format!("{name}={value}"));
            line += &format!("  [{}]", details.collect::<Vec<_>>().join(", "));
        }
        line
    }
}
