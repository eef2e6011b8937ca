//! Heartbeats of many agents in one statement, and who listens to them.

use crate::agent::{AgentHeartbeat, set_heartbeats_pipelined};
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, MachineId, Provider, SessionId};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::collections::BTreeMap;
use uuid::Uuid;

/// The latest heartbeat of each machine, in id order. `None`, the time of the write, is later than any
/// other.
fn latest(heartbeats: &[AgentHeartbeat]) -> (Vec<MachineId>, Vec<Option<DateTime<Utc>>>) {
    let mut latest = BTreeMap::new();
    for &(machine, at) in heartbeats {
        latest
            .entry(machine)
            .and_modify(|last: &mut Option<DateTime<Utc>>| {
                *last = last.zip(at).map(|(last, at)| last.max(at));
            })
            .or_insert(at);
    }
    latest.into_iter().unzip()
}

statement! {
    AdvanceHeartbeats<'a> = include_str!("../sql/advance_heartbeats.sql");
    (
        session: Option<SessionId> => Nullable<SqlUuid>,
        machines: &'a [MachineId] => Array<SqlUuid>,
        at: &'a [Option<DateTime<Utc>>] => Array<Nullable<Timestamptz>>,
    ) -> (Bool, Nullable<SqlUuid>)
}

/// Moves the heartbeats of many machines forward in one statement. Returns, in id order, the machines
/// that had no heartbeat, or a later one. Like [`advance_heartbeat`](crate::agent::advance_heartbeat),
/// it touches and plans nothing.
///
/// With a session, the statement contains the fence check and may run on its own; it returns `None`
/// when the session has expired. Without one, the caller's transaction has made that check.
///
/// # Errors
/// [`Error::Database`].
pub async fn advance_heartbeats(
    conn: &mut AsyncPgConnection,
    session: Option<SessionId>,
    heartbeats: &[AgentHeartbeat],
) -> Result<Option<Vec<MachineId>>, Error> {
    let (machines, at) = latest(heartbeats);
    let advance = AdvanceHeartbeats {
        session,
        machines: &machines,
        at: &at,
    };
    let rows: Vec<(bool, Option<MachineId>)> = advance.load(conn).await?;
    let is_alive = rows.iter().all(|(is_alive, _)| *is_alive);
    let mut rest: Vec<MachineId> = rows
        .into_iter()
        .filter_map(|(_, machine)| machine)
        .collect();
    rest.sort_unstable();
    Ok(is_alive.then_some(rest))
}

/// Like [`set_heartbeat`](crate::agent::set_heartbeat) for many machines. The caller has touched all of
/// them.
///
/// # Errors
/// [`Error::Database`].
pub async fn set_heartbeats(
    conn: &mut AsyncPgConnection,
    heartbeats: &[AgentHeartbeat],
) -> Result<(), Error> {
    let (machines, at) = latest(heartbeats);
    set_heartbeats_pipelined(conn, &machines, &at).await
}

statement! {
    ObserveListening = "SELECT observe_listening()";
    () -> Text
}

/// Notes for each provider whether somebody listens to its agents now. A statement of its own, which may run
/// as often as the caller likes: the database spaces the observations.
///
/// # Errors
/// [`Error::Database`].
pub async fn observe_listening(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    ObserveListening {}.execute(conn).await?;
    Ok(())
}

statement! {
    AssumeListening<'a> = "SELECT assume_listening($1)";
    (provider: Option<&'a Provider> => Nullable<Text>) -> Text
}

/// Lets silence count although nobody listens: for one provider, or for all. Returns the providers for which
/// that is new; it ends for each of them as soon as somebody listens. Machines have to be replanned.
///
/// # Errors
/// [`Error::Database`].
pub async fn assume_listening(
    conn: &mut AsyncPgConnection,
    provider: Option<&Provider>,
) -> Result<Vec<Provider>, Error> {
    Ok(AssumeListening { provider }.load(conn).await?)
}

statement! {
    StartListening<'a> = "INSERT INTO agent_listener (listener_id, session_id, provider) \
         VALUES ($1, $2, coalesce($3, '')) ON CONFLICT (listener_id) DO NOTHING";
    (listener: Uuid => SqlUuid, session: SessionId => SqlUuid, provider: Option<&'a Provider> => Nullable<Text>)
    -> ()
}

/// Notes that a session listens to the agents of a provider, or of all. Running it again changes nothing.
///
/// # Errors
/// [`Error::Database`].
pub async fn start_listening(
    conn: &mut AsyncPgConnection,
    listener: Uuid,
    session: SessionId,
    provider: Option<&Provider>,
) -> Result<(), Error> {
    let start = StartListening {
        listener,
        session,
        provider,
    };
    start.execute(conn).await?;
    Ok(())
}

statement! {
    StopListening<'a> = "DELETE FROM agent_listener WHERE listener_id = ANY ($1)";
    (listeners: &'a [Uuid] => Array<SqlUuid>) -> ()
}

/// Notes that these listeners listen no more.
///
/// # Errors
/// [`Error::Database`].
pub async fn stop_listening(conn: &mut AsyncPgConnection, listeners: &[Uuid]) -> Result<(), Error> {
    StopListening { listeners }.execute(conn).await?;
    Ok(())
}
