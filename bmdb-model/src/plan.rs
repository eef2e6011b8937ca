//! Replanning: writing into work items what the workflows' views say of machines.

use crate::column::Column;
use crate::internal::notify::Notify;
use crate::internal::plan::replan_notifying;
use crate::schema::plan_failure;
use crate::time::Stored;
use crate::{Error, MachineId, Process};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::fmt;

/// Replans machines whose rows the caller's transaction has locked ([`crate::machine::touch`]).
///
/// Call it in a later statement than the writes that it plans by. Under READ COMMITTED a statement sees
/// what was committed before it began, so the plan then includes the tags of every transaction that had
/// the machine locked before. Only what differs is written.
///
/// # Errors
/// [`Error::Database`], also when a workflow's view fails, is missing or lists a machine twice. The
/// transactions of `bmdb_core` are planned without such a workflow.
pub async fn replan(conn: &mut AsyncPgConnection, machines: &[MachineId]) -> Result<(), Error> {
    replan_notifying(conn, machines, Notify::Off).await
}

/// A workflow that fails, and a machine for which it does. The items of such machines stay as they were
/// planned before.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = plan_failure, check_for_backend(diesel::pg::Pg))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct BrokenWorkflow {
    pub process: Process,
    /// The view.
    pub workflow: String,
    #[diesel(column_name = machine_id)]
    pub machine: MachineId,
    /// The view's error, or that of writing what the view says.
    pub error: String,
}

impl BrokenWorkflow {
    pub(crate) fn new(
        process: Process,
        workflow: String,
        machine: MachineId,
        error: &Error,
    ) -> Self {
        let error = match error {
            Error::Database(error) => error.to_string(),
            error => error.to_string(),
        };
        Self {
            process,
            workflow,
            machine,
            error: Column::ERROR.recorded(&error).into_owned(),
        }
    }

    /// What is wrong, for a reader who sees the process: `its workflow … fails for machine …: …`.
    #[must_use]
    pub fn problem(&self) -> String {
        format!(
            "its workflow {} fails for machine {}: {}",
            self.workflow, self.machine, self.error
        )
    }
}

impl fmt::Display for BrokenWorkflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not plannable: {}", self.process, self.problem())
    }
}

/// A process that is not plannable for at least one machine.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = plan_failure, check_for_backend(diesel::pg::Pg))]
#[non_exhaustive]
pub struct PlanFailure {
    /// The workflow, with the machine and the error that were noted last.
    #[diesel(embed)]
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub broken: BrokenWorkflow,
    /// Since when the process has not been plannable.
    #[diesel(deserialize_as = Stored)]
    pub since: DateTime<Utc>,
}

/// Lists the processes that are not plannable, by name.
///
/// A plan that fails is noted with one machine for each process. The note is deleted when a janitor or a
/// replan of the fleet finds that this machine can be planned again; if the workflow fails for other
/// machines, it is noted again when they are planned.
///
/// # Errors
/// [`Error::Database`].
pub async fn failures(conn: &mut AsyncPgConnection) -> Result<Vec<PlanFailure>, Error> {
    Ok(plan_failure::table
        .select(PlanFailure::as_select())
        .order(plan_failure::process)
        .load(conn)
        .await?)
}
