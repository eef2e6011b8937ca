//! The queues of a process that limits, breakers or pauses may stop, and how many machines may be claimed
//! from each.
//!
//! The claim itself is what these allow at most: a trigger checks each machine once more.

use super::claim::Providers;
use super::head::QueueHead;
use crate::statement::statement;
use crate::{Error, Process, Provider, SessionId};
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::time::Duration;

statement! {
    ReadOpenQueues<'a> = include_str!("../../sql/open_queues.sql");
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>, limit: i64 => BigInt, session: SessionId => SqlUuid)
    -> (Bool, Bool, Bool, Nullable<Text>, Nullable<Bool>, Nullable<BigInt>, Nullable<BigInt>, Nullable<BigInt>)
}

type Row = (
    bool,
    bool,
    bool,
    Option<Provider>,
    Option<bool>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
);

/// What [`open_queues`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenQueues {
    /// Whether anything limits the process.
    pub is_controlled: bool,
    /// The queues from which machines may be claimed, the longest due first.
    pub open: Vec<OpenQueue>,
    /// When to look again, if no queue is open: [`QueueHead::Due`] if that is not known.
    pub head: QueueHead,
}

/// A queue from which machines may be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenQueue {
    /// Whose machines; `None` is those without a provider.
    pub provider: Option<Provider>,
    /// How many.
    pub room: i64,
}

impl OpenQueue {
    /// Whose machines, for a claim.
    #[must_use]
    pub fn providers(&self) -> Providers<'_> {
        self.provider
            .as_ref()
            .map_or(Providers::None, Providers::One)
    }
}

/// Reads the queues of a process; `None` if the session has expired.
///
/// # Errors
/// [`Error::Database`].
pub async fn open_queues(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: Option<&Provider>,
    session: SessionId,
    limit: i64,
) -> Result<Option<OpenQueues>, Error> {
    let statement = ReadOpenQueues {
        process,
        provider,
        limit,
        session,
    };
    let rows: Vec<Row> = statement.load(conn).await?;
    if !rows.iter().any(|(is_alive, ..)| *is_alive) {
        return Ok(None);
    }
    let is_controlled = rows.iter().any(|(_, is_controlled, ..)| *is_controlled);
    let mut open = Vec::new();
    let mut next: Option<Duration> = None;
    for (_, _, exists, provider, is_due, due_in, room, opens_in) in rows {
        if !exists {
            continue;
        }
        let wait = match (is_due, room) {
            (Some(true), Some(room)) if room > 0 => {
                open.push(OpenQueue { provider, room });
                continue;
            }
            // When a slot of what runs becomes free is not known: soon, as far as a poll can tell.
            (Some(true), _) => opens_in.unwrap_or(0),
            _ => due_in.unwrap_or(A_DAY),
        };
        let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
        next = Some(next.map_or(wait, |next| next.min(wait)));
    }
    let head = match next {
        _ if !open.is_empty() => QueueHead::Due,
        None => QueueHead::Empty,
        Some(Duration::ZERO) => QueueHead::Due,
        Some(wait) => QueueHead::DueIn(wait),
    };
    Ok(Some(OpenQueues {
        is_controlled,
        open,
        head,
    }))
}

/// In milliseconds. It stands for any longer time.
const A_DAY: i64 = 86_400_000;
