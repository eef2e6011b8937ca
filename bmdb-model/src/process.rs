//! Process definitions: what all components must agree on about a process.

use crate::schema::{process_def, work_item};
use crate::statement::statement;
use crate::{Error, Lane, Process};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A row of `process_def`.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = process_def, treat_none_as_null = true, check_for_backend(diesel::pg::Pg))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct ProcessDef {
    pub process: Process,
    /// Processes of one lane exclude each other on a machine.
    pub lane: Lane,
    /// The view `(machine_id, provider, ready_at)` of the machines that need the process.
    pub workflow: Option<String>,
    /// Whether claims replan first, because the view's `ready_at` moves by writes that are not planned,
    /// such as heartbeats. The column is `time_driven`.
    #[diesel(column_name = time_driven)]
    pub replan_on_claim: bool,
    /// The delay after the first expired attempt in a row, in seconds.
    #[diesel(column_name = loss_initial_seconds)]
    pub loss_initial_seconds: i64,
    /// The longest delay after consecutive expired attempts, in seconds.
    #[diesel(column_name = loss_maximum_seconds)]
    pub loss_maximum_seconds: i64,
}

impl ProcessDef {
    /// The definition of a process without a row: its own lane, no workflow, and a delay after expired
    /// attempts that grows from 15 s to 1 h.
    #[must_use]
    pub fn new(process: Process) -> Self {
        Self {
            lane: Lane::from(&process),
            process,
            workflow: None,
            replan_on_claim: false,
            loss_initial_seconds: 15,
            loss_maximum_seconds: 3600,
        }
    }

    /// Sets the lane.
    #[must_use]
    pub fn lane(self, lane: Lane) -> Self {
        Self { lane, ..self }
    }

    /// Sets the workflow's view, whose `ready_at` changes only by writes that are planned.
    #[must_use]
    pub fn workflow(self, view: impl Into<String>) -> Self {
        Self {
            workflow: Some(view.into()),
            ..self
        }
    }

    /// Sets the delays after expired attempts, in whole seconds.
    #[must_use]
    pub fn loss_delay(self, initial_seconds: u32, maximum_seconds: u32) -> Self {
        Self {
            loss_initial_seconds: initial_seconds.into(),
            loss_maximum_seconds: maximum_seconds.into(),
            ..self
        }
    }

    /// What is wrong with the delays, if anything.
    fn problem(&self) -> Option<String> {
        let longest = i64::from(i32::MAX);
        if !(1..=longest).contains(&self.loss_initial_seconds)
            || !(self.loss_initial_seconds..=longest).contains(&self.loss_maximum_seconds)
        {
            return Some(format!(
                "its loss delay of {} to {} s must satisfy 1 <= initial <= maximum <= {longest}",
                self.loss_initial_seconds, self.loss_maximum_seconds
            ));
        }
        None
    }
}

statement! {
    /// Blocks all writers of work items until the end of the transaction, but not readers.
    LockItems = "LOCK TABLE work_item IN SHARE ROW EXCLUSIVE MODE";
    () -> ()
}

/// Adds or replaces a definition, in the caller's transaction. Machines are planned by it from their
/// next tag write on, or when the fleet is replanned.
///
/// Components may pass the definition that is in force already, although they may not write others
/// ([`crate::grants`]).
///
/// Changing the lane of a process that has work items blocks all claims and ends for a moment.
/// Otherwise a concurrent claim could get a machine in the old lane while another one has it in the new
/// lane.
///
/// # Errors
/// [`Error::InvalidDefinition`] if the delays are out of range, if the workflow is not a view with the
/// columns `machine_id uuid`, `provider text`, `ready_at timestamptz`, or if the lane would change
/// while the process works on machines; [`Error::Database`].
pub async fn define(conn: &mut AsyncPgConnection, definition: &ProcessDef) -> Result<(), Error> {
    let process = &definition.process;
    let invalid = |problem| Error::InvalidDefinition {
        process: process.clone(),
        problem,
    };
    if let Some(problem) = definition.problem() {
        return Err(invalid(problem));
    }
    if let Some(workflow) = &definition.workflow {
        crate::error::storable_non_empty("workflow", workflow)?;
        crate::internal::plan::check_workflow(conn, workflow)
            .await?
            .map_err(invalid)?;
    }
    let in_force = of(conn, process).await?;
    if in_force == *definition {
        return Ok(());
    }
    if in_force.lane != definition.lane {
        LockItems {}.execute(conn).await?;
        let is_claimed = work_item::process
            .eq(process)
            .and(work_item::session_id.is_not_null());
        let claimed: i64 = work_item::table
            .filter(is_claimed)
            .count()
            .get_result(conn)
            .await?;
        if claimed > 0 {
            return Err(invalid(format!(
                "its lane cannot change while it is at work on {claimed} machines: wait, or stop its \
                 components"
            )));
        }
    }
    diesel::insert_into(process_def::table)
        .values(definition)
        .on_conflict(process_def::process)
        .do_update()
        .set(definition)
        .execute(conn)
        .await?;
    if in_force.lane != definition.lane {
        // After the definition, by which a trigger sets the lane.
        diesel::update(work_item::table.filter(work_item::process.eq(process)))
            .set(work_item::lane.eq(&definition.lane))
            .execute(conn)
            .await?;
    }
    Ok(())
}

/// Returns the definition in force: the row, or the default without one.
///
/// # Errors
/// [`Error::Database`].
pub async fn of(conn: &mut AsyncPgConnection, process: &Process) -> Result<ProcessDef, Error> {
    let row = process_def::table
        .find(process)
        .select(ProcessDef::as_select())
        .first(conn)
        .await
        .optional()?;
    Ok(row.unwrap_or_else(|| ProcessDef::new(process.clone())))
}

/// Lists all definitions by name.
///
/// # Errors
/// [`Error::Database`].
pub async fn all(conn: &mut AsyncPgConnection) -> Result<Vec<ProcessDef>, Error> {
    Ok(process_def::table
        .select(ProcessDef::as_select())
        .order(process_def::process)
        .load(conn)
        .await?)
}

statement! {
    /// The last condition reads the whole table, because no index begins with the process. It is
    /// reached only for a process that nothing else knows.
    IsKnown<'a> = "SELECT EXISTS (SELECT FROM process_def d WHERE d.process = $1) \
             OR EXISTS (SELECT FROM work_item i \
                        WHERE i.process = $1 AND i.eligible AND i.session_id IS NULL) \
             OR EXISTS (SELECT FROM attempt_tally t WHERE t.process = $1) \
             OR EXISTS (SELECT FROM work_item i WHERE i.process = $1)";
    (process: &'a Process => Text) -> Bool
}

/// Returns whether the process exists: it is defined, a machine has a work item of it, or it ran within
/// the last day. Costs a look at an index, except for an unknown process: then the work items are read.
///
/// # Errors
/// [`Error::Database`].
pub async fn is_known(conn: &mut AsyncPgConnection, process: &Process) -> Result<bool, Error> {
    Ok(IsKnown { process }.get_result(conn).await?)
}

statement! {
    Known = include_str!("sql/known_processes.sql");
    () -> Text
}

/// Lists the processes that are defined, have machines to work on, back off or work on some, or ran
/// within the last day, by name. Reads only one machine for each of them.
///
/// # Errors
/// [`Error::Database`].
pub async fn known(conn: &mut AsyncPgConnection) -> Result<Vec<Process>, Error> {
    Ok(Known {}.load(conn).await?)
}
