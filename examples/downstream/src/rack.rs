//! Racks, the machines in them, and what bmdb knows of those.

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
    /// What is written on its door.
    pub name: String,
    /// Where it stands.
    pub room: String,
}

/// A row of `rack_units`. bmdb's ids are types that Diesel knows.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = rack_units, check_for_backend(Pg))]
pub struct RackUnit {
    /// The machine, which is in one place.
    pub machine_id: MachineId,
    /// The rack.
    pub rack: String,
    /// The unit, counted from the bottom, from 1 on.
    pub unit: i32,
}

/// A machine in its rack, with what is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Placed {
    /// The unit of the rack.
    pub unit: i32,
    /// The machine.
    pub machine: MachineId,
    /// When its agent was started: a tag of bmdb's.
    pub agent_started_at: Option<DateTime<Utc>>,
    /// The claim that put it into service.
    pub commissioned_by: Option<Fence>,
}

/// Adds a rack. As bmdb-model's functions, these take a connection: a plain one, or a transaction of a
/// session.
pub async fn add(conn: &mut AsyncPgConnection, rack: &Rack) -> QueryResult<()> {
    let added = diesel::insert_into(racks::table).values(rack);
    added.execute(conn).await.map(drop)
}

/// Says where a machine stands.
pub async fn place(conn: &mut AsyncPgConnection, unit: &RackUnit) -> QueryResult<()> {
    let placed = diesel::insert_into(rack_units::table).values(unit);
    placed.execute(conn).await.map(drop)
}

/// The machines of a rack from the bottom up: our table, joined with a tag and with our books.
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
/// bmdb keeps a row for every machine and process that tells it: whether the machine's tags ask for
/// the process, from when on, and who is at it.
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
