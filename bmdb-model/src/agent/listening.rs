//! Who listens to agents, and since when: a silence of ours is not a silence of theirs.

use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, MachineId, Provider};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Whether somebody listens to the agents of a provider, as it was last observed.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Listening {
    /// The provider.
    pub provider: Provider,
    /// Whether somebody listens: a program that says so, or the writer of a fresh heartbeat.
    pub listened: bool,
    /// Since when without a gap. `None` while nobody listens.
    pub since: Option<DateTime<Utc>>,
    /// When somebody listening was last observed; `None` if never.
    pub heard_at: Option<DateTime<Utc>>,
    /// Whether silence counts although nobody may be listening, because an operator has said so.
    pub assumed: bool,
}

/// Who listens to the agents of a provider.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ProviderAgents {
    /// Whether somebody listens, and since when.
    pub listening: Listening,
    /// How many machines have the tag `agent_started`.
    pub agents: i64,
    /// How many programs say that they listen.
    pub listeners: i64,
}

statement! {
    All = include_str!("../sql/agent_listening.sql");
    () -> ((Text, Bool, Nullable<Timestamptz>, Nullable<Timestamptz>, Bool), BigInt, BigInt)
}

/// Returns who listens to the agents of each provider, by name. Reads the tags of the whole fleet: sample
/// it, do not poll it.
///
/// # Errors
/// [`Error::Database`].
pub async fn listening(conn: &mut AsyncPgConnection) -> Result<Vec<ProviderAgents>, Error> {
    Ok(All {}.load(conn).await?)
}

/// How the silence of a machine's agent is counted.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Silence {
    /// Whether somebody listens to the agents of the machine's provider.
    pub listening: Listening,
    /// When the agent has been quiet for too long, if somebody has listened all the time.
    pub quiet_at: DateTime<Utc>,
    /// When the agent is silent: not before somebody has listened for long enough.
    pub silent_at: DateTime<Utc>,
}

statement! {
    OfMachine = "SELECT q.provider, coalesce(l.listened, false), \
                     CASE WHEN l.listened THEN nullif(a.since, '-infinity') END, l.heard_at, \
                     coalesce(l.assumed, false), \
                 q.quiet_at, s.silent_at \
         FROM agent_quiet q JOIN agent_silence s ON s.machine_id = q.machine_id \
         LEFT JOIN agent_listening a ON a.provider = q.provider \
         LEFT JOIN agent_listening_since l ON l.provider = q.provider \
         WHERE q.machine_id = $1";
    (machine: MachineId => SqlUuid)
    -> ((Text, Bool, Nullable<Timestamptz>, Nullable<Timestamptz>, Bool), Timestamptz, Timestamptz)
}

/// Returns how the silence of a machine's agent is counted; `None` for a machine without a provider or an
/// agent.
///
/// # Errors
/// [`Error::Database`].
pub async fn silence(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
) -> Result<Option<Silence>, Error> {
    Ok(OfMachine { machine }.get_result(conn).await.optional()?)
}
