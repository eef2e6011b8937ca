//! Careful planning: a workflow that fails does not keep the others from being planned.
//!
//! It needs savepoints and several statements, so transactions plan in one statement first, and carefully
//! when that has failed.

use super::unplanned::{Unplanned, note};
use super::{Definitions, plan_pipelined};
use crate::error::is_about_another_server;
use crate::internal::connection;
use crate::internal::connection::plan_once_locally;
use crate::internal::notify::Notify;
use crate::plan::BrokenWorkflow;
use crate::statement::statement;
use crate::{Error, ErrorKind, MachineId};
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// How many statements may fail in the search for the machines of one workflow. Machines of a batch that are
/// not found by then stay as they were, together with their neighbors.
const MOST_FAILURES: usize = 100;

/// How many statements of one transaction may take too long. Machines are locked meanwhile.
const MOST_TIMEOUTS: usize = 3;

/// Whether planning without one of the workflows may succeed after this error. Not after an error that
/// concerns the transaction, the connection or a lock.
#[must_use]
pub fn may_be_a_views_fault(error: &Error) -> bool {
    let is_the_statements = matches!(
        error.kind(),
        ErrorKind::Other
            | ErrorKind::Denied
            | ErrorKind::InvalidValue
            | ErrorKind::Internal
            | ErrorKind::SchemaMismatch
            | ErrorKind::StatementTimeout
    );
    matches!(error, Error::Database(_)) && (is_the_statements || is_about_another_server(error))
}

/// Like [`super::replan_by`], but a workflow that fails leaves its items as they were for those machines for
/// which it does, and everything else is planned. Returns what was not planned, and notes it in the table
/// `plan_failure`.
///
/// All workflows are planned at once, and after a failure each alone, and the one that fails for halves of
/// the machines, until the failing machines are found. A view that fails without any machine, because it is
/// missing for example, fails for all of them.
///
/// A view that is too slow fails for all of the machines, because a search would take as many timeouts. Each
/// statement gets a sixth of the connection's `statement_timeout`. If no workflow is fast enough, the
/// server is slow, and not a view: that is an error.
///
/// # Errors
/// [`Error::Database`]: roll the transaction back.
pub async fn replan_carefully(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    definitions: &Definitions,
    notify: Notify,
) -> Result<Vec<Unplanned>, Error> {
    if machines.is_empty() {
        return Ok(Vec::new());
    }
    let mut unplanned = plan_usable(conn, machines, definitions, notify).await?;
    note(conn, &mut unplanned).await?;
    Ok(unplanned)
}

/// Like [`replan_carefully`], without a note. After an error that may be a view's fault, the transaction can
/// go on.
pub(super) async fn plan_usable(
    conn: &mut AsyncPgConnection,
    machines: &[MachineId],
    definitions: &Definitions,
    notify: Notify,
) -> Result<Vec<Unplanned>, Error> {
    plan_once_locally(conn).await?;
    let timeout: String = LimitTime {}.get_result(conn).await?;
    let mut careful = Careful {
        conn: &mut *conn,
        notify,
        timeouts: 0,
    };
    let planned = careful.plan(machines, definitions).await;
    let restored: Result<String, _> = SetTimeout { timeout: &timeout }.get_result(conn).await;
    let unplanned = planned?;
    restored?;
    Ok(unplanned)
}

statement! {
    /// Returns the timeout as it was, in milliseconds; zero is none. `OFFSET 0` makes it read before it is
    /// set.
    LimitTime = "SELECT s.setting FROM (SELECT setting FROM pg_settings \
                                        WHERE name = 'statement_timeout' OFFSET 0) s \
         WHERE set_config('statement_timeout', CASE s.setting WHEN '0' THEN '10000' \
                          ELSE greatest(s.setting::bigint / 6, 1)::text END, true) IS NOT NULL";
    () -> Text
}

statement! {
    SetTimeout<'a> = "SELECT set_config('statement_timeout', $1, true)";
    (timeout: &'a str => Text) -> Text
}

struct Careful<'c> {
    conn: &'c mut AsyncPgConnection,
    notify: Notify,
    /// How many statements have taken too long.
    timeouts: usize,
}

/// The machines for which a workflow failed.
struct Failing {
    machines: Vec<MachineId>,
    first: MachineId,
    error: Error,
}

impl Careful<'_> {
    async fn plan(
        &mut self,
        machines: &[MachineId],
        definitions: &Definitions,
    ) -> Result<Vec<Unplanned>, Error> {
        if self.attempt(machines, definitions).await?.is_none() {
            return Ok(Vec::new());
        }
        let mut timeout = None;
        let mut is_any_fast = false;
        let mut unplanned = Vec::new();
        for workflow in definitions.workflows.iter().filter(|w| w.asked) {
            let by = definitions.only(&workflow.process);
            let Some(failing) = self.workflow(machines, &by).await? else {
                is_any_fast = true;
                continue;
            };
            let broken = BrokenWorkflow::new(
                workflow.process.clone(),
                workflow.view.clone(),
                failing.first,
                &failing.error,
            );
            match is_too_slow(&failing.error) {
                true => timeout = Some(failing.error),
                false => is_any_fast = true,
            }
            unplanned.push(Unplanned {
                broken,
                machines: failing.machines,
                is_news: false,
            });
        }
        match timeout {
            Some(error) if !is_any_fast => Err(error),
            _ => Ok(unplanned),
        }
    }

    /// Plans by one workflow.
    async fn workflow(
        &mut self,
        machines: &[MachineId],
        by: &Definitions,
    ) -> Result<Option<Failing>, Error> {
        let (Some(error), [first, rest @ ..]) = (self.attempt(machines, by).await?, machines)
        else {
            return Ok(None);
        };
        let for_all = |error| {
            Some(Failing {
                machines: machines.to_vec(),
                first: *first,
                error,
            })
        };
        if rest.is_empty() || is_too_slow(&error) {
            return Ok(for_all(error));
        }
        match self.attempt(&[], by).await? {
            Some(error) => Ok(for_all(error)),
            None => self.search(machines, by).await,
        }
    }

    /// Plans the machines for which the workflow does not fail, when it is known to fail for some.
    async fn search(
        &mut self,
        machines: &[MachineId],
        by: &Definitions,
    ) -> Result<Option<Failing>, Error> {
        let mut parts = Vec::new();
        push_halves(&mut parts, machines);
        let mut found: Option<Failing> = None;
        let mut failures = 0;
        while let Some(part) = parts.pop() {
            let [first, rest @ ..] = part else {
                continue;
            };
            if failures >= MOST_FAILURES
                && let Some(found) = &mut found
            {
                found.machines.extend(part);
                continue;
            }
            let Some(error) = self.attempt(part, by).await? else {
                continue;
            };
            failures += 1;
            if !rest.is_empty() && !is_too_slow(&error) {
                push_halves(&mut parts, part);
                continue;
            }
            let failing = found.get_or_insert_with(|| Failing {
                machines: Vec::new(),
                first: *first,
                error,
            });
            failing.machines.extend(part);
        }
        Ok(found)
    }

    /// Plans behind a savepoint; returns the error if a view may have caused it.
    async fn attempt(
        &mut self,
        machines: &[MachineId],
        by: &Definitions,
    ) -> Result<Option<Error>, Error> {
        let notify = self.notify;
        // Without machines, the statement fails if the view cannot be queried at all.
        let plan =
            async |conn: &mut AsyncPgConnection| plan_pipelined(conn, machines, by, notify).await;
        match connection::attempt(self.conn, plan).await? {
            Ok(()) => Ok(None),
            Err(error) if !may_be_a_views_fault(&error) => Err(error),
            Err(error) => {
                self.timeouts += usize::from(is_too_slow(&error));
                match self.timeouts > MOST_TIMEOUTS {
                    true => Err(error),
                    false => Ok(Some(error)),
                }
            }
        }
    }
}

fn is_too_slow(error: &Error) -> bool {
    error.kind() == ErrorKind::StatementTimeout
}

/// The first half is the next one.
fn push_halves<'a>(parts: &mut Vec<&'a [MachineId]>, part: &'a [MachineId]) {
    let (first, second) = part.split_at(part.len() / 2);
    parts.push(second);
    parts.push(first);
}
