//! Which tags a workflow's view reads, by its dependencies in the catalog.

use super::gate::{Effect, TagState};
use crate::statement::{cached_by_text, statement};
use crate::time::Timestamptz;
use crate::{Error, MachineId};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::sql_types::{Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A table or view that a view reads, or the view itself.
#[derive(Debug, Queryable)]
pub(super) struct Relation {
    pub(super) name: String,
    /// With its schema, quoted where needed.
    pub(super) qualified: String,
    /// The definition of a view.
    pub(super) definition: Option<String>,
    /// Whether the name without a schema finds it.
    pub(super) is_visible: bool,
    /// Whether it is a table with a column `machine_id`: a tag.
    is_tag: bool,
    /// The table's first column of type timestamptz.
    time: Option<String>,
    /// A row of the table for `this` machine, with nulls in all other columns.
    pub(super) nulls: String,
}

statement! {
    Relations<'a> = include_str!("../sql/view_relations.sql");
    (view: &'a str => Text) -> (Text, Text, Nullable<Text>, Bool, Bool, Nullable<Text>, Text)
}

/// The relations that the view reads, each before those that read it, and the view last.
pub(super) async fn relations(
    conn: &mut AsyncPgConnection,
    view: &str,
) -> Result<Vec<Relation>, Error> {
    Ok(Relations { view }.load(conn).await?)
}

/// Whether a view that reads these relations is about machines whose agents are silent.
pub(super) fn are_about_silence(relations: &[Relation]) -> bool {
    relations.iter().any(|r| r.name == "agent_silence")
}

/// The tags among the relations that a view reads, by name, and whether the machine has them.
pub(super) async fn tags(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    mut tables: Vec<Relation>,
) -> Result<Vec<TagState>, Error> {
    tables.retain(|relation| relation.is_tag);
    if tables.is_empty() {
        return Ok(Vec::new());
    }
    tables.sort_by(|a, b| a.name.cmp(&b.name));
    let rows = Rows {
        machine,
        tables: &tables,
    };
    let rows: Vec<(bool, Option<DateTime<Utc>>)> = rows.load(conn).await?;
    let state = |(table, (is_set, time)): (Relation, (bool, Option<DateTime<Utc>>))| TagState {
        table: table.name,
        is_set,
        time: table.time.zip(time),
        effect: Effect::NoneAlone,
    };
    Ok(tables.into_iter().zip(rows).map(state).collect())
}

/// One row for each table, in their order.
struct Rows<'a> {
    machine: MachineId,
    tables: &'a [Relation],
}

cached_by_text!(Rows -> (Bool, Nullable<Timestamptz>));

impl QueryFragment<Pg> for Rows<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH this AS MATERIALIZED (SELECT ");
        out.push_bind_param::<SqlUuid, _>(&self.machine)?;
        out.push_sql("::uuid AS machine_id) ");
        for (at, table) in self.tables.iter().enumerate() {
            if at > 0 {
                out.push_sql(" UNION ALL ");
            }
            // A downstream user's tag may have several rows for a machine.
            out.push_sql("SELECT r.is_set IS NOT NULL, r.time FROM this LEFT JOIN LATERAL (SELECT true AS is_set, ");
            match &table.time {
                Some(column) => {
                    out.push_sql("CASE WHEN isfinite(t.");
                    out.push_identifier(column)?;
                    out.push_sql(") THEN t.");
                    out.push_identifier(column)?;
                    out.push_sql(" END");
                }
                None => out.push_sql("NULL::timestamptz"),
            }
            out.push_sql(" AS time FROM ");
            out.push_sql(&table.qualified);
            out.push_sql(" t WHERE t.machine_id = this.machine_id LIMIT 1) r ON true");
        }
        Ok(())
    }
}
