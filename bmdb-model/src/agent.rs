//! Agent tags: `machine_agent_started` and `machine_agent_heartbeat`; and who listens to agents.

mod listening;

pub use listening::{Listening, ProviderAgents, Silence, listening, silence};

use crate::column::Column;
use crate::rows::{self, Rows};
use crate::schema::machine_agent_started;
use crate::statement::statement;
use crate::tag::{self, TagName};
use crate::time::Timestamptz;
use crate::{Error, MachineId};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Bytea, Nullable, Uuid as SqlUuid};
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
    SetStarted<'a> = include_str!("sql/set_agents_started.sql");
    (
        machines: &'a [MachineId] => Array<SqlUuid>,
        at: &'a [Option<DateTime<Utc>>] => Array<Nullable<Timestamptz>>,
        public_keys: &'a [&'a [u8]] => Array<Bytea>,
    ) -> ()
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
    set_started_pipelined(conn, &Rows::from([(machine, started)])).await
}

/// Like [`set_started`] for many machines, in one statement. If a machine is named twice, the last entry
/// counts. The caller has touched all of them.
///
/// # Errors
/// [`Error::OfMachine`] with [`Error::TooLong`], and then nothing was written; [`Error::Database`].
pub async fn set_all_started(
    conn: &mut AsyncPgConnection,
    started: &[(MachineId, AgentStarted)],
) -> Result<(), Error> {
    let rows = rows::last_of(started);
    rows::check(&rows, AgentStarted::check)?;
    set_started_pipelined(conn, &rows).await
}

/// Sets the tag to values that have been checked.
pub(crate) async fn set_started_pipelined(
    conn: &AsyncPgConnection,
    started: &Rows<'_, AgentStarted>,
) -> Result<(), Error> {
    let batches = rows::batches(started, |started| started.public_key.len()).into_iter();
    let statements = batches.map(|batch| async move {
        let set = SetStarted {
            machines: &batch.machines,
            at: &batch.column(|started| started.at),
            public_keys: &batch.column(|started| &*started.public_key),
        };
        set.execute(&mut &*conn).await?;
        Ok(())
    });
    rows::pipelined(statements).await
}

/// Deletes both agent tags, as before a reinstallation. The caller has touched the machine.
///
/// # Errors
/// [`Error::Database`].
pub async fn unset(conn: &mut AsyncPgConnection, machine: MachineId) -> Result<(), Error> {
    tag::unset(conn, machine, TagName::AgentStarted).await?;
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
    SetHeartbeats<'a> = "INSERT INTO machine_agent_heartbeat (machine_id, agent_heartbeat_at) \
         SELECT b.machine_id, coalesce(b.at, clock_timestamp()) \
         FROM unnest($1::uuid[], $2::timestamptz[]) AS b (machine_id, at) ORDER BY b.machine_id \
         ON CONFLICT (machine_id) DO UPDATE SET agent_heartbeat_at = excluded.agent_heartbeat_at";
    (
        machines: &'a [MachineId] => Array<SqlUuid>,
        at: &'a [Option<DateTime<Utc>>] => Array<Nullable<Timestamptz>>,
    ) -> ()
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
    set_heartbeats_pipelined(conn, &[machine], &[at]).await
}

/// Sets the heartbeat of each machine, in machine order.
pub(crate) async fn set_heartbeats_pipelined(
    mut conn: &AsyncPgConnection,
    machines: &[MachineId],
    at: &[Option<DateTime<Utc>>],
) -> Result<(), Error> {
    SetHeartbeats { machines, at }.execute(&mut conn).await?;
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
