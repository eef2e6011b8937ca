//! Agent tags: `machine_agent_started` and `machine_agent_heartbeat`; and who listens to agents.

mod listening;

pub use listening::{Listening, ProviderAgents, Silence, listening, silence};

use crate::column::Column;
use crate::schema::{machine_agent_heartbeat, machine_agent_started};
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, MachineId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bytea, Nullable, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// The agent that was started on a machine, and the key that it authenticates with.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct AgentStarted {
    /// When it was started; `None` is the database's time of the write.
    pub at: Option<DateTime<Utc>>,
    /// The agent's public key.
    pub public_key: Vec<u8>,
}

impl AgentStarted {
    /// Refuses a key that cannot be stored. Call it before the work that ends with this tag.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn check(&self) -> Result<(), Error> {
        Column::PUBLIC_KEY.check_bytes(&self.public_key)
    }

    /// An agent that was started now, by the database's clock.
    #[must_use]
    pub fn now(public_key: impl AsRef<[u8]>) -> Self {
        Self {
            at: None,
            public_key: public_key.as_ref().to_vec(),
        }
    }

    /// An agent that was started at a known time.
    #[must_use]
    pub fn at(at: DateTime<Utc>, public_key: impl AsRef<[u8]>) -> Self {
        Self {
            at: Some(at),
            public_key: public_key.as_ref().to_vec(),
        }
    }
}

statement! {
    SetStarted<'a> = "INSERT INTO machine_agent_started (machine_id, agent_started_at, agent_public_key) \
         VALUES ($1, coalesce($2, clock_timestamp()), $3) \
         ON CONFLICT (machine_id) DO UPDATE SET agent_started_at = excluded.agent_started_at, \
             agent_public_key = excluded.agent_public_key";
    (machine: MachineId => SqlUuid, at: Option<DateTime<Utc>> => Nullable<Timestamptz>, key: &'a [u8] => Bytea) -> ()
}

statement! {
    /// A heartbeat of an earlier agent says nothing about this one.
    ForgetOlderHeartbeat = "DELETE FROM machine_agent_heartbeat h USING machine_agent_started s \
         WHERE h.machine_id = $1 AND s.machine_id = $1 AND h.agent_heartbeat_at < s.agent_started_at";
    (machine: MachineId => SqlUuid) -> ()
}

/// Sets the tag, and deletes heartbeats from before the start. The caller has touched the machine.
///
/// # Errors
/// [`Error::TooLong`], [`Error::Database`].
pub async fn set_started(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    started: &AgentStarted,
) -> Result<(), Error> {
    started.check()?;
    SetStarted {
        machine,
        at: started.at,
        key: &started.public_key,
    }
    .execute(conn)
    .await?;
    ForgetOlderHeartbeat { machine }.execute(conn).await?;
    Ok(())
}

/// Deletes both agent tags, as before a reinstallation. The caller has touched the machine.
///
/// # Errors
/// [`Error::Database`].
pub async fn unset(conn: &mut AsyncPgConnection, machine: MachineId) -> Result<(), Error> {
    diesel::delete(machine_agent_heartbeat::table.find(machine))
        .execute(conn)
        .await?;
    diesel::delete(machine_agent_started::table.find(machine))
        .execute(conn)
        .await?;
    Ok(())
}

statement! {
    AdvanceHeartbeat = "UPDATE machine_agent_heartbeat SET agent_heartbeat_at = coalesce($1, clock_timestamp()) \
         WHERE machine_id = $2 AND agent_heartbeat_at <= coalesce($1, clock_timestamp())";
    (at: Option<DateTime<Utc>> => Nullable<Timestamptz>, machine: MachineId => SqlUuid) -> ()
}

/// Moves a heartbeat forward, if the machine has one; returns whether it did. The machine need not be
/// touched.
///
/// A later heartbeat can only make recovery due later, so nothing has to be planned: this is the hot
/// path. `at: None` is the database's time of the write.
///
/// # Errors
/// [`Error::Database`].
pub async fn advance_heartbeat(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    at: Option<DateTime<Utc>>,
) -> Result<bool, Error> {
    Ok(AdvanceHeartbeat { at, machine }.execute(conn).await? == 1)
}

statement! {
    SetHeartbeat = "INSERT INTO machine_agent_heartbeat (machine_id, agent_heartbeat_at) \
         VALUES ($1, coalesce($2, clock_timestamp())) \
         ON CONFLICT (machine_id) DO UPDATE SET agent_heartbeat_at = excluded.agent_heartbeat_at";
    (machine: MachineId => SqlUuid, at: Option<DateTime<Utc>> => Nullable<Timestamptz>) -> ()
}

/// Sets the heartbeat, also to an earlier time. The caller has touched the machine, because a first
/// heartbeat and an earlier one make the machine due for recovery earlier.
///
/// # Errors
/// [`Error::Database`].
pub async fn set_heartbeat(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    at: Option<DateTime<Utc>>,
) -> Result<(), Error> {
    SetHeartbeat { machine, at }.execute(conn).await?;
    Ok(())
}

/// A machine and when its agent sent a heartbeat; `None` is the database's time of the write.
pub type AgentHeartbeat = (MachineId, Option<DateTime<Utc>>);

/// Returns whether the key is that of the machine's agent.
///
/// # Errors
/// [`Error::Database`].
pub async fn authenticate(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    public_key: &[u8],
) -> Result<bool, Error> {
    let query = machine_agent_started::table
        .find(machine)
        .filter(machine_agent_started::agent_public_key.eq(public_key));
    Ok(diesel::select(diesel::dsl::exists(query))
        .get_result(conn)
        .await?)
}

statement! {
    /// By its hash, which the index holds; the key itself excludes others with the same hash.
    OfKey<'a> = "SELECT machine_id FROM machine_agent_started \
         WHERE sha256(agent_public_key) = sha256($1) AND agent_public_key = $1 ORDER BY machine_id";
    (key: &'a [u8] => Bytea) -> SqlUuid
}

/// Returns the machines whose agent has this key: several if agents share one.
///
/// # Errors
/// [`Error::Database`].
pub async fn of_key(
    conn: &mut AsyncPgConnection,
    public_key: &[u8],
) -> Result<Vec<MachineId>, Error> {
    Ok(OfKey { key: public_key }.load(conn).await?)
}
