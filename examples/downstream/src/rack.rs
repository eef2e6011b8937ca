//! Racks, the machines in them, and their state in bmdb.

use crate::schema::{commissioned, rack_units, racks};
use bmdb_model::schema::{machine_agent_started, work_item};
use bmdb_model::{Fence, MachineId, Process};
use chrono::{DateTime, Utc};
use diesel::dsl::now;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A row of `racks`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = racks, check_for_backend(Pg))]
pub struct Rack {
    /// The name on its door.
    pub name: String,
    /// The room it is in.
    pub room: String,
}

/// A row of `rack_units`. Diesel can read and write bmdb's id types.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = rack_units, check_for_backend(Pg))]
pub struct RackUnit {
    /// The machine; it is in one place only.
    pub machine_id: MachineId,
    /// The rack.
    pub rack: String,
    /// The unit, counted from the bottom, starting at 1.
    pub unit: i32,
}

/// A machine in its rack, with its state.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Placed {
    /// The unit of the rack.
    pub unit: i32,
    /// The machine.
    pub machine: MachineId,
    /// When its agent was started, from a tag of bmdb's.
    pub agent_started_at: Option<DateTime<Utc>>,
    /// The claim that commissioned it.
    pub commissioned_by: Option<Fence>,
}

/// Adds a rack. Like bmdb-model's functions, these take a plain connection or a session's transaction.
pub async fn add(conn: &mut AsyncPgConnection, rack: &Rack) -> QueryResult<()> {
    let added = diesel::insert_into(racks::table).values(rack);
    added.execute(conn).await.map(drop)
}

/// Places a machine in a rack.
pub async fn place(conn: &mut AsyncPgConnection, unit: &RackUnit) -> QueryResult<()> {
    let placed = diesel::insert_into(rack_units::table).values(unit);
    placed.execute(conn).await.map(drop)
}

/// The machines of a rack from the bottom up: our tables, joined with a tag of bmdb's.
pub async fn machines(conn: &mut AsyncPgConnection, rack: &str) -> QueryResult<Vec<Placed>> {
    rack_units::table
        .left_join(machine_agent_started::table)
        .left_join(commissioned::table)
        .filter(rack_units::rack.eq(rack))
        .order(rack_units::unit)
        .select((
            rack_units::unit,
            rack_units::machine_id,
            machine_agent_started::agent_started_at.nullable(),
            commissioned::fence.nullable(),
        ))
        .load(conn)
        .await
}

/// The machines of a rack that are due for a process, from the bottom up.
///
/// For every machine and process bmdb has a row in `work_item`: whether the machine's tags make it
/// eligible for the process, from when on, and which session has claimed it.
pub async fn due(
    conn: &mut AsyncPgConnection,
    rack: &str,
    process: &Process,
) -> QueryResult<Vec<MachineId>> {
    let of_machine = work_item::machine_id.eq(rack_units::machine_id);
    rack_units::table
        .inner_join(work_item::table.on(of_machine.and(work_item::process.eq(process))))
        .filter(rack_units::rack.eq(rack))
        .filter(work_item::eligible)
        .filter(work_item::session_id.is_null())
        .filter(work_item::ready_at.le(now.into_sql::<Timestamptz>().nullable()))
        .order(rack_units::unit)
        .select(rack_units::machine_id)
        .load(conn)
        .await
}
