//! What a list shows of each machine.

use super::closed::ClosedQueues;
use super::state::ItemState;
use crate::hold::Hold;
use crate::schema::{machine_hold, machine_provided, machines};
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, MachineId, Process, Provided, Provider, SessionId, connection};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::collections::HashMap;

/// A machine of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct FleetMachine {
    pub id: MachineId,
    /// The tag `provided`, if the machine has it.
    pub provided: Option<Provided>,
    pub hold: Option<Hold>,
    /// Its work items, by process.
    pub items: Vec<FleetItem>,
}

/// A process on a machine of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct FleetItem {
    pub process: Process,
    /// The state that its gates make.
    pub state: ItemState,
    /// Until when it waits or backs off, or since when it is due; `None` if it always was, or never
    /// will be.
    pub ready_at: Option<DateTime<Utc>>,
    /// The session that has claimed it.
    pub session: Option<SessionId>,
    /// When it was claimed.
    pub started_at: Option<DateTime<Utc>>,
    /// How many times in a row it has failed.
    pub failures: i64,
    /// How many times in a row its attempt has expired.
    pub losses: i64,
}

#[derive(Queryable)]
struct ItemRow {
    machine_id: MachineId,
    process: Process,
    provider: Option<Provider>,
    eligible: bool,
    plan_at: Option<DateTime<Utc>>,
    backoff_until: Option<DateTime<Utc>>,
    ready_at: Option<DateTime<Utc>>,
    session_id: Option<SessionId>,
    started_at: Option<DateTime<Utc>>,
    failures: i64,
    losses: i64,
}

statement! {
    /// Clients cannot read infinity. A gate that never opens is closed until the year 9999, so that it
    /// is not mistaken for an open one; a gate without a time is open.
    Items<'a> = "SELECT machine_id, process, provider, eligible, \
             CASE WHEN plan_at > '-infinity' THEN least(plan_at, '9999-12-31 00:00:00Z') END, \
             backoff_until, \
             CASE WHEN isfinite(ready_at) THEN ready_at END, \
             session_id, started_at, failures, losses \
         FROM work_item WHERE machine_id = ANY ($1) ORDER BY machine_id, process";
    (machines: &'a [MachineId] => Array<SqlUuid>)
    -> (
        SqlUuid,
        Text,
        Nullable<Text>,
        Bool,
        Nullable<Timestamptz>,
        Nullable<Timestamptz>,
        Nullable<Timestamptz>,
        Nullable<SqlUuid>,
        Nullable<Timestamptz>,
        BigInt,
        BigInt,
    )
}

/// Reads the machines' rows, in the order of `ids`, in an open transaction; three statements, and
/// one more if a process is due on any of them. Machines that do not exist are left out.
///
/// # Errors
/// [`Error::Database`].
pub async fn details(
    conn: &mut AsyncPgConnection,
    ids: &[MachineId],
) -> Result<Vec<FleetMachine>, Error> {
    let now = connection::now(conn).await?;
    let (provided_id, on_hold_id) = (machine_provided::machine_id, machine_hold::machine_id);
    let rows: Vec<(MachineId, Option<Provided>, Option<Hold>)> = machines::table
        .left_join(machine_provided::table.on(provided_id.eq(machines::machine_id)))
        .left_join(machine_hold::table.on(on_hold_id.eq(machines::machine_id)))
        .filter(machines::machine_id.eq_any(ids))
        .select((
            machines::machine_id,
            Option::<Provided>::as_select(),
            Option::<Hold>::as_select(),
        ))
        .load(conn)
        .await?;
    let items: Vec<ItemRow> = Items { machines: ids }.load(conn).await?;
    let is_any_due = items.iter().any(|item| item.state(now) == ItemState::Due);
    let closed = match is_any_due {
        true => ClosedQueues::read(conn, None).await?,
        false => ClosedQueues::default(),
    };
    let mut items_of: HashMap<MachineId, Vec<FleetItem>> = HashMap::new();
    for row in items {
        let of_machine = items_of.entry(row.machine_id).or_default();
        of_machine.push(row.item(now, &closed));
    }
    let mut found: HashMap<MachineId, FleetMachine> = rows
        .into_iter()
        .map(|(id, provided, hold)| {
            let items = items_of.remove(&id).unwrap_or_default();
            let machine = FleetMachine {
                id,
                provided,
                hold,
                items,
            };
            (id, machine)
        })
        .collect();
    Ok(ids.iter().filter_map(|id| found.remove(id)).collect())
}

impl ItemRow {
    /// Whether a due item is limited or paused is not known yet.
    fn state(&self, now: DateTime<Utc>) -> ItemState {
        let is_claimed = self.session_id.is_some();
        ItemState::of(
            self.eligible,
            is_claimed,
            self.plan_at,
            self.backoff_until,
            now,
        )
    }

    fn item(self, now: DateTime<Utc>, closed: &ClosedQueues) -> FleetItem {
        let state = match self.state(now) {
            ItemState::Due => closed.state(&self.process, self.provider.as_ref()),
            other => other,
        };
        FleetItem {
            state,
            process: self.process,
            ready_at: self.ready_at,
            session: self.session_id,
            started_at: self.started_at,
            failures: self.failures,
            losses: self.losses,
        }
    }
}
