//! The text of the planning statement, which depends on the workflows: it has one branch for each.
//!
//! The server plans it once per connection. Each branch asks its view for one machine at a time, behind an
//! `OFFSET 0`: so each table that the view joins by the machine is read through its index, whatever the
//! statistics were when the statement was planned. Without that, a plan that was made while a table was empty
//! would read all of it for each machine until the next `ANALYZE`.

use super::definitions::{Definitions, Workflow};
use crate::internal::notify::{NOTIFYING, Notify};
use crate::statement::cached_by_text;
use crate::time::Timestamptz;
use crate::{Fence, Lane, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use std::fmt::Write;
use std::sync::LazyLock;

const ITEMS: &str = include_str!("../../sql/plan/items.sql");
const WRITE: &str = include_str!("../../sql/plan/write.sql");
/// Where the columns of finishes are added to the plan.
const FINISHES: &str = "/* finishes */";

/// What the plan is combined with, in a statement that also ends the attempts.
static ITEMS_WITH_FINISHES: LazyLock<String> = LazyLock::new(|| {
    let columns = include_str!("../../sql/plan/finishes.sql");
    ITEMS.replace(FINISHES, &with_quick_finishes(columns))
});

const END_PLANNED: &str = concat!(
    include_str!("../../sql/finish/end_planned.sql"),
    include_str!("../../sql/finish/judge.sql"),
    include_str!("../../sql/finish/free.sql"),
);

/// Fills in how finishes in quick succession are counted.
pub(crate) fn with_quick_finishes(sql: &str) -> String {
    let count = include_str!("../../sql/finish/quick_finishes.sql");
    sql.replace("/* quick_finishes */", count.trim_end())
}

/// The definitions as arrays, which the branches of the statement take their process from.
struct Parameters<'a> {
    machines: &'a [MachineId],
    version: Option<i64>,
    processes: Vec<&'a Process>,
    lanes: Vec<&'a Lane>,
    workflows: &'a [Workflow],
    notify: Notify,
}

impl<'a> Parameters<'a> {
    fn new(machines: &'a [MachineId], definitions: &'a Definitions, notify: Notify) -> Self {
        let workflows = &definitions.workflows;
        let (processes, lanes) = workflows.iter().map(|w| (&w.process, &w.lane)).unzip();
        Self {
            machines,
            version: definitions.version,
            processes,
            lanes,
            workflows,
            notify,
        }
    }

    /// Binds `$1` to `$4`. They are named at the beginning, in a part that is not run, so that their numbers
    /// do not depend on the workflows.
    fn bind<'b>(&'b self, out: &mut AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH machine AS MATERIALIZED (\n    SELECT unnest(");
        out.push_bind_param::<Array<SqlUuid>, _>(&self.machines)?;
        out.push_sql(
            "::uuid[]) AS machine_id\n    \
             WHERE (SELECT version FROM definitions_version) = ",
        );
        out.push_bind_param::<Nullable<BigInt>, _>(&self.version)?;
        out.push_sql(
            "::bigint OR (SELECT definitions_are_current($2))\n\
             ), parameter AS (\n    SELECT ",
        );
        out.push_bind_param::<Array<Text>, _>(&self.processes)?;
        out.push_sql("::text[], ");
        out.push_bind_param::<Array<Text>, _>(&self.lanes)?;
        out.push_sql("::text[]");
        Ok(())
    }

    /// What the workflows say: a row for each machine and workflow, and for each item whose process has lost
    /// its workflow and is due nowhere any more.
    fn push_wanted(&self, times: &str, out: &mut AstPass<'_, '_, Pg>) -> QueryResult<()> {
        out.push_sql("\n), wanted AS (");
        for (workflow, n) in self.workflows.iter().zip(1..) {
            let mut branch = String::new();
            let times = times.replace("[]", &format!("[{n}]"));
            // Writing to a string does not fail.
            let _ = write!(
                branch,
                "\n    SELECT m.machine_id, ($3)[{n}] AS process, ($4)[{n}] AS lane, \
                 v.provider, v.ready_at,\n           v.machine_id IS NOT NULL AND (SELECT true FROM machine_hold h \
                 WHERE h.machine_id = m.machine_id) IS NOT TRUE AS listed{times}\n    \
                 FROM machine m\n    LEFT JOIN LATERAL (SELECT * FROM "
            );
            out.push_sql(&branch);
            if workflow.asked {
                out.push_identifier(&workflow.view)?;
            } else {
                out.push_sql(&format!(
                    "(SELECT machine_id, provider, plan_at AS ready_at FROM work_item \
                     WHERE eligible AND process = ($3)[{n}])"
                ));
            }
            out.push_sql(" v WHERE v.machine_id = m.machine_id OFFSET 0) v ON true\n    UNION ALL");
        }
        let nothing = if times.is_empty() {
            ""
        } else {
            ", 1, 1, 0, interval '0'"
        };
        out.push_sql("\n    SELECT m.machine_id, i.process, i.lane, NULL, NULL, false");
        out.push_sql(nothing);
        out.push_sql(
            "\n    FROM machine m\n    CROSS JOIN LATERAL (\n        \
             SELECT i.process, i.lane FROM work_item i\n        \
             WHERE i.machine_id = m.machine_id AND i.eligible OFFSET 0\n    ) i\n    \
             WHERE i.process <> ALL ($3)\n",
        );
        Ok(())
    }
}

/// Plans machines.
///
/// Diesel caches it by its text, because the text contains the workflows. The definitions are parameters and are
/// not read again, because one might appear between the two statements; only their version is compared.
pub(super) struct Plan<'a>(Parameters<'a>);

impl<'a> Plan<'a> {
    pub(super) fn new(
        machines: &'a [MachineId],
        definitions: &'a Definitions,
        notify: Notify,
    ) -> Self {
        Self(Parameters::new(machines, definitions, notify))
    }
}

cached_by_text!(Plan -> ());

impl QueryFragment<Pg> for Plan<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.0.bind(&mut out)?;
        self.0.push_wanted("", &mut out)?;
        out.push_sql(ITEMS);
        out.push_sql(WRITE);
        if self.0.notify == Notify::On {
            out.push_sql(NOTIFYING);
        }
        Ok(())
    }
}

/// Plans machines and ends attempts on them, which the transaction has locked.
pub(crate) struct PlanAndFinish<'a> {
    parameters: Parameters<'a>,
    session: SessionId,
    fences: &'a [Fence],
    permille: &'a [i64],
    started_at: &'a [DateTime<Utc>],
    rest_initial: Vec<i64>,
    rest_maximum: Vec<i64>,
    flapping_within: Vec<i64>,
}

impl<'a> PlanAndFinish<'a> {
    /// Each fence has its number of thousandths that its rest is extended by, and when its attempt began.
    pub(crate) fn new(
        (machines, definitions, notify): (&'a [MachineId], &'a Definitions, Notify),
        session: SessionId,
        (fences, permille, started_at): (&'a [Fence], &'a [i64], &'a [DateTime<Utc>]),
    ) -> Self {
        let rests = || definitions.workflows.iter().map(|w| w.rest);
        Self {
            parameters: Parameters::new(machines, definitions, notify),
            session,
            fences,
            permille,
            started_at,
            rest_initial: rests().map(|rest| rest.initial).collect(),
            rest_maximum: rests().map(|rest| rest.maximum).collect(),
            flapping_within: rests().map(|rest| rest.flapping_within).collect(),
        }
    }
}

cached_by_text!(PlanAndFinish -> (BigInt, Nullable<Timestamptz>, BigInt, BigInt));

impl QueryFragment<Pg> for PlanAndFinish<'_> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.parameters.bind(&mut out)?;
        for times in [
            &self.rest_initial,
            &self.rest_maximum,
            &self.flapping_within,
        ] {
            out.push_sql(", ");
            out.push_bind_param::<Array<BigInt>, _>(times)?;
            out.push_sql("::bigint[]");
        }
        out.push_sql(", ");
        out.push_bind_param::<SqlUuid, _>(&self.session)?;
        out.push_sql("::uuid, ");
        out.push_bind_param::<Array<BigInt>, _>(&self.fences)?;
        out.push_sql("::bigint[], ");
        out.push_bind_param::<Array<BigInt>, _>(&self.permille)?;
        out.push_sql("::bigint[], ");
        out.push_bind_param::<Array<Timestamptz>, _>(&self.started_at)?;
        out.push_sql("::timestamptz[]");
        let times = ",\n           ($5)[] AS rest_initial_seconds, ($6)[] AS rest_maximum_seconds, \
                     ($7)[] AS flapping_within_seconds, ($7)[] * interval '1 second' AS soon";
        self.parameters.push_wanted(times, &mut out)?;
        out.push_sql(&ITEMS_WITH_FINISHES);
        out.push_sql(END_PLANNED);
        out.push_sql(", others AS (\n");
        out.push_sql(&WRITE.replace("WHERE (eligible", "WHERE finish IS NULL AND (eligible"));
        if self.parameters.notify == Notify::On {
            out.push_sql(NOTIFYING);
        }
        out.push_sql("\n)\nSELECT fence, backoff_until, unproductive, flapping FROM freed");
        Ok(())
    }
}
