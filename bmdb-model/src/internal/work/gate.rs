//! The gates of machines: whether a process can be claimed there, and if not, why.

use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, MachineId, Process};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// The gate that keeps a process from a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// No gate is closed.
    Open,
    /// A process of the same lane is claimed.
    LaneTaken,
    /// The process is backing off there.
    BackedOff {
        /// When the backoff ends.
        until: DateTime<Utc>,
    },
    /// The machine is on hold.
    OnHold,
    /// Only this process is on hold there.
    ProcessOnHold {
        /// Why.
        reason: String,
    },
    /// The process is paused, everywhere or on the machines of this provider.
    Paused {
        /// Who has paused it.
        by: String,
        /// Why.
        reason: String,
        /// When the pause ends by itself; `None` if a person has to resume.
        until: Option<DateTime<Utc>>,
    },
    /// A limit is reached.
    Limited {
        /// When the next slot becomes free, if that is known.
        opens_at: Option<DateTime<Utc>>,
    },
    /// The machine does not exist.
    Unknown,
}

statement! {
    Gates<'a> = include_str!("../../sql/gates.sql");
    (process: &'a Process => Text, machines: &'a [MachineId] => Array<SqlUuid>)
    -> (
        SqlUuid, Bool, Bool, Nullable<Text>, Bool, Nullable<Timestamptz>,
        (Nullable<Text>, Nullable<Timestamptz>, Nullable<Text>, Nullable<Text>)
    )
}

/// Returns the gates of `machines` for a process, in the given order.
///
/// # Errors
/// [`Error::Database`].
pub async fn gates(
    conn: &mut AsyncPgConnection,
    process: &Process,
    machines: &[MachineId],
) -> Result<Vec<(MachineId, Gate)>, Error> {
    type OfProcess = (
        Option<String>,
        Option<DateTime<Utc>>,
        Option<String>,
        Option<String>,
    );
    type Row = (
        MachineId,
        bool,
        bool,
        Option<String>,
        bool,
        Option<DateTime<Utc>>,
        OfProcess,
    );
    let rows: Vec<Row> = Gates { process, machines }.load(conn).await?;
    let gate =
        |(machine, is_known, on_hold, hold_reason, lane_taken, backoff_until, closed): Row| {
            let (closed, opens_at, by, reason) = closed;
            let gate = match (hold_reason, backoff_until) {
                _ if !is_known => Gate::Unknown,
                _ if on_hold => Gate::OnHold,
                (Some(reason), _) => Gate::ProcessOnHold { reason },
                _ if lane_taken => Gate::LaneTaken,
                (_, Some(until)) => Gate::BackedOff { until },
                _ => match (closed, by.zip(reason)) {
                    (None, _) => Gate::Open,
                    (Some(_), None) => Gate::Limited { opens_at },
                    (Some(_), Some((by, reason))) => Gate::Paused {
                        by,
                        reason,
                        until: opens_at,
                    },
                },
            };
            (machine, gate)
        };
    Ok(rows.into_iter().map(gate).collect())
}
