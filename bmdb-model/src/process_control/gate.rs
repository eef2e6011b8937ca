//! The fourth gate: what keeps a process from starting on the machines of a provider now.

use super::{Pause, PauseSource, Per, SlotKind};
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, Process, Provider};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Bool, Integer, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A closed gate: why a process does not start on the machines of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(tag = "gate"))]
#[non_exhaustive]
pub enum ProcessGate {
    /// It is paused.
    Paused(Pause),
    /// A limit is reached.
    #[non_exhaustive]
    Limited {
        /// What the limit counts.
        per: Per,
        /// Whether too much runs, or too much has started.
        kind: SlotKind,
        /// How many slots are taken.
        taken: i64,
        /// How many there are.
        maximum: i64,
        /// The window of starts, in seconds.
        window_seconds: Option<i64>,
        /// When the next slot becomes free, if that is known: not for running machines.
        opens_at: Option<DateTime<Utc>>,
    },
}

impl ProcessGate {
    /// When it opens by itself, if that is known.
    #[must_use]
    pub const fn opens_at(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Paused(pause) => pause.until,
            Self::Limited { opens_at, .. } => *opens_at,
        }
    }
}

statement! {
    Closed<'a> = "SELECT g.gate, g.per, g.kind, g.taken, g.maximum, g.window_seconds, g.opens_at, g.source, \
                         g.paused_by, g.reason, g.since, g.stop_running \
                  FROM process_gates($1, $2) g WHERE g.room = 0 \
                  ORDER BY g.gate DESC, g.since, g.per, g.kind";
    (process: &'a Process => Text, provider: Option<&'a Provider> => Nullable<Text>)
    -> (
        Text, Text, Nullable<Text>, Nullable<Integer>, Nullable<Integer>, Nullable<Integer>,
        Nullable<Timestamptz>, Nullable<Text>, Nullable<Text>, Nullable<Text>, Nullable<Timestamptz>,
        Nullable<Bool>
    )
}

type Row = (
    String,
    Per,
    Option<SlotKind>,
    Option<i32>,
    Option<i32>,
    Option<i32>,
    Option<DateTime<Utc>>,
    Option<PauseSource>,
    Option<String>,
    Option<String>,
    Option<DateTime<Utc>>,
    Option<bool>,
);

/// Returns what keeps a process from starting on the machines of a provider now, pauses first; nothing if it
/// may start. `None` is the machines without a provider.
///
/// Not included: that the breaker would trip at the next claim. A breaker that has tripped is a pause.
///
/// # Errors
/// [`Error::Database`].
pub async fn closed_gates(
    conn: &mut AsyncPgConnection,
    process: &Process,
    provider: Option<&Provider>,
) -> Result<Vec<ProcessGate>, Error> {
    let rows: Vec<Row> = Closed { process, provider }.load(conn).await?;
    let gates = rows
        .into_iter()
        .filter_map(|row| gate(process, provider, row));
    Ok(gates.collect())
}

fn gate(process: &Process, provider: Option<&Provider>, row: Row) -> Option<ProcessGate> {
    let (_, per, kind, taken, maximum, window, opens_at, source, paused_by, reason, since, stop) =
        row;
    Some(match kind {
        Some(kind) => ProcessGate::Limited {
            per,
            kind,
            taken: taken?.into(),
            maximum: maximum?.into(),
            window_seconds: window.map(i64::from),
            opens_at,
        },
        None => ProcessGate::Paused(Pause {
            process: process.clone(),
            provider: provider.filter(|_| per == Per::Provider).cloned(),
            since: since?,
            until: opens_at,
            source: source?,
            paused_by: paused_by?,
            reason: reason?,
            stop_running: stop?,
        }),
    })
}
