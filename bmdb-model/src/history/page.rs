//! A machine's history as people read it: the newest first, streaks folded, with operator actions.

use super::Outcome;
use crate::operator::{self, Action, ActionKey, Scope};
use crate::page::{InvalidKey, Page, Parts, join};
use crate::statement::statement;
use crate::time::{INFINITY, Timestamptz};
use crate::work::{self, ClaimedWork};
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::fmt;
use std::str::FromStr;

/// A row of `work_attempt`: an ended attempt, or a streak of equal failures.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct PastAttempt {
    pub machine: MachineId,
    pub process: Process,
    /// The session; in a streak, the one that failed last.
    pub session: SessionId,
    /// The claim's fence; in a streak, that of the first attempt.
    pub fence: Fence,
    /// The same fence; in a streak, that of the last attempt.
    pub last_fence: Fence,
    /// When the attempt was claimed; in a streak, the first one.
    pub started_at: DateTime<Utc>,
    /// When the attempt ended; in a streak, the last one.
    pub ended_at: DateTime<Utc>,
    pub outcome: Outcome,
    /// Why it failed.
    pub cause: Option<String>,
    /// How many failures with the same cause and interval followed the first one of the streak.
    pub repeats: i64,
    /// For how many seconds the machine backs off afterwards: a failure's interval, or the delay after
    /// an expired attempt.
    pub interval_seconds: Option<i64>,
}

/// An entry of a machine's history.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub enum Entry {
    /// Claimed work.
    Ongoing(ClaimedWork),
    /// An attempt that has ended.
    Past(PastAttempt),
    /// An operator's action.
    Action(Action),
}

/// Where a page of [`page`] begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HistoryKey {
    /// Attempts below this fence are read.
    window: i64,
    /// The last attempt that was listed.
    ended_at: DateTime<Utc>,
    last_fence: i64,
    /// The last action that was listed.
    action: ActionKey,
}

impl HistoryKey {
    const FIRST: Self = Self {
        window: i64::MAX,
        ended_at: INFINITY,
        last_fence: i64::MAX,
        action: ActionKey {
            acted_at: INFINITY,
            id: i64::MAX,
        },
    };

    /// The same key in the next window.
    const fn below(self, window: i64) -> Self {
        Self {
            window,
            ended_at: INFINITY,
            last_fence: i64::MAX,
            ..self
        }
    }

    fn passed(&mut self, entry: &Entry) {
        match entry {
            Entry::Ongoing(_) => {}
            Entry::Past(attempt) => {
                self.ended_at = attempt.ended_at;
                self.last_fence = attempt.last_fence.get();
            }
            Entry::Action(action) => self.action = ActionKey::of(action),
        }
    }
}

impl fmt::Display for HistoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ended_at = self.ended_at.timestamp_micros();
        join(
            f,
            &[&self.window, &ended_at, &self.last_fence, &self.action],
        )
    }
}

impl FromStr for HistoryKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let mut parts = Parts::of(text);
        let (window, ended_at, last_fence) = (parts.parse()?, parts.time()?, parts.parse()?);
        let (acted_at, id) = (parts.time()?, parts.parse()?);
        parts.end()?;
        Ok(Self {
            window,
            ended_at,
            last_fence,
            action: ActionKey { acted_at, id },
        })
    }
}

/// The columns of a [`PastAttempt`].
pub(crate) type PastColumns = (
    SqlUuid,
    Text,
    SqlUuid,
    BigInt,
    BigInt,
    Timestamptz,
    Timestamptz,
    Text,
    Nullable<Text>,
    BigInt,
    Nullable<BigInt>,
);

statement! {
    Attempts<'a> = include_str!("../sql/history_page.sql");
    (
        machine: MachineId => SqlUuid, window: i64 => BigInt, process: Option<&'a Process> => Nullable<Text>,
        ended_at: DateTime<Utc> => Timestamptz, last_fence: i64 => BigInt, limit: i64 => BigInt
    ) -> (Nullable<BigInt>, Nullable<PastColumns>)
}

/// Lists up to `limit` entries of a machine's history, of one process or of all, the newest first. The
/// first page begins with claimed work, which does not count towards the limit.
///
/// A streak is ordered by its last failure. No index has that order, so attempts are sorted in windows
/// of up to 5,000 rows, five times what is kept of a machine by default. Where there are more, a page
/// may be short or empty, and its `next` says where to continue.
///
/// # Errors
/// [`Error::Database`].
pub async fn page(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: Option<&Process>,
    after: Option<&HistoryKey>,
    limit: i64,
) -> Result<Page<Entry, HistoryKey>, Error> {
    let mut rows = Vec::new();
    if after.is_none() {
        let claimed = work::claimed_on(conn, machine).await?.into_iter();
        let claimed = claimed.filter(|work| process.is_none_or(|process| work.process == *process));
        rows.extend(claimed.map(Entry::Ongoing));
    }
    let mut key = after.copied().unwrap_or(HistoryKey::FIRST);
    let attempts = Attempts {
        machine,
        window: key.window,
        process,
        ended_at: key.ended_at,
        last_fence: key.last_fence,
        limit: limit + 1,
    };
    let found: Vec<(Option<i64>, Option<PastAttempt>)> = attempts.load(conn).await?;
    let next_window = found.as_slice().first().and_then(|(window, _)| *window);
    let attempts = found.into_iter().filter_map(|(_, attempt)| attempt);
    let of_machine = Scope::Machine(machine, process);
    let actions = operator::page(conn, of_machine, Some(&key.action), limit).await?;
    let is_more_actions = actions.next.is_some();

    let mut attempts = attempts.peekable();
    let mut actions = actions.rows.into_iter().peekable();
    for _ in 0..limit {
        let entry = match (attempts.peek(), actions.peek()) {
            (Some(attempt), Some(action)) if attempt.ended_at < action.acted_at => {
                actions.next().map(Entry::Action)
            }
            (Some(_), _) => attempts.next().map(Entry::Past),
            // Other actions may be older than the attempts of the next window.
            (None, _) if next_window.is_some() => None,
            (None, _) => actions.next().map(Entry::Action),
        };
        let Some(entry) = entry else { break };
        key.passed(&entry);
        rows.push(entry);
    }
    let next = if attempts.peek().is_some() {
        Some(key)
    } else if let Some(window) = next_window {
        Some(key.below(window))
    } else {
        (actions.peek().is_some() || is_more_actions).then_some(key)
    };
    Ok(Page { rows, next })
}
