//! Process definitions: what all components must agree on about a process.

mod define;

pub use define::define;

use crate::schema::process_def;
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
    /// The rest after a finish that has left the machine due, or after several that have not lasted, in
    /// seconds. Each following one is twice as long.
    #[diesel(column_name = rest_initial_seconds)]
    pub rest_initial_seconds: i64,
    /// The longest such rest, in seconds.
    #[diesel(column_name = rest_maximum_seconds)]
    pub rest_maximum_seconds: i64,
    /// How soon after the one before a finish on the same machine has not lasted, in seconds. 0: never.
    #[diesel(column_name = flapping_within_seconds)]
    pub flapping_within_seconds: i64,
}

impl ProcessDef {
    /// The definition of a process without a row: its own lane, no workflow, a delay after expired attempts
    /// that grows from 15 s to 1 h, and a rest after finishes without an effect that grows from 30 s to 1 h,
    /// also after the third finish within a minute of the one before.
    #[must_use]
    pub fn new(process: Process) -> Self {
        Self {
            lane: Lane::from(&process),
            process,
            workflow: None,
            replan_on_claim: false,
            loss_initial_seconds: 15,
            loss_maximum_seconds: 3600,
            rest_initial_seconds: 30,
            rest_maximum_seconds: 3600,
            flapping_within_seconds: 60,
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

    /// Sets the rest after finishes that have left a machine due or have not lasted, in whole seconds.
    #[must_use]
    pub fn rest(self, initial_seconds: u32, maximum_seconds: u32) -> Self {
        Self {
            rest_initial_seconds: initial_seconds.into(),
            rest_maximum_seconds: maximum_seconds.into(),
            ..self
        }
    }

    /// Sets how soon after the one before a finish on the same machine has not lasted, in whole seconds; 0
    /// for never.
    #[must_use]
    pub fn flapping_within(self, seconds: u32) -> Self {
        Self {
            flapping_within_seconds: seconds.into(),
            ..self
        }
    }

    /// What is wrong with the times, if anything.
    fn problem(&self) -> Option<String> {
        let longest = i64::from(i32::MAX);
        let pairs = [
            (
                "loss delay",
                self.loss_initial_seconds,
                self.loss_maximum_seconds,
            ),
            ("rest", self.rest_initial_seconds, self.rest_maximum_seconds),
        ];
        for (name, initial, maximum) in pairs {
            if !(1..=longest).contains(&initial) || !(initial..=longest).contains(&maximum) {
                return Some(format!(
                    "its {name} of {initial} to {maximum} s must satisfy 1 <= initial <= maximum <= \
                     {longest}"
                ));
            }
        }
        if !(0..=longest).contains(&self.flapping_within_seconds) {
            return Some(format!(
                "it flaps within {} s, which must be between 0 and {longest}",
                self.flapping_within_seconds
            ));
        }
        None
    }
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
