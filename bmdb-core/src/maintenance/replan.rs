//! Upkeep of a whole database: process definitions, re-planning of the fleet, trimming of history.

use crate::bmdb::Bmdb;
use crate::db::transaction::run_unfenced;
use crate::error::TxError;
use crate::maintenance::batch::{MACHINES, ROWS};
use bmdb_model::history::Retention;
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::{self, history, plan};
use bmdb_model::{MachineId, ProcessDef, machine, process};
use diesel_async::AsyncPgConnection;

/// What re-planning does about machines whose tags somebody is just writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Busy {
    /// Leave them to that writer, who plans them.
    Skip,
    /// Wait, and bump their versions: that writer may plan by definitions that have changed.
    Wait,
}

impl Bmdb {
    /// Adds or replaces a process's definition and plans the fleet by it, waiting for those who are
    /// just writing tags. A process that loses its workflow is no longer due anywhere.
    ///
    /// Whether a process is time-driven is remembered by components that have claimed it: restart
    /// them when that changes.
    ///
    /// Needs a member of `bmdb_owner`, unless the definition is in force already.
    ///
    /// Cancellation: the definition may be in force and part of the fleet unplanned by it. Call this
    /// again; [`Bmdb::replan`] would pass over those machines that are just being written.
    ///
    /// # Errors
    /// [`bmdb_model::Error::InvalidDefinition`], or the database's.
    pub async fn define_process(&self, definition: &ProcessDef) -> Result<(), TxError> {
        let define =
            async |conn: &mut AsyncPgConnection| Ok(process::define(conn, definition).await?);
        let component = &self.component;
        run_unfenced(&component.pool, component.config.retry_for, &define).await?;
        component.forget_process(&definition.process);
        self.plan_fleet(Busy::Wait, |_| {}).await.map(drop)
    }

    /// Plans every machine anew, in chunks; returns how many were looked at. Repairs whatever was
    /// written past the planner. Machines whose tags somebody is just writing are left to that
    /// writer. The janitors do the same slowly ([`Config::replan_period`](crate::Config::replan_period)).
    ///
    /// Cancellation: what has been planned stays planned.
    ///
    /// # Errors
    /// The database's.
    pub async fn replan(&self) -> Result<u64, TxError> {
        self.replan_with(|_| {}).await
    }

    /// As [`Bmdb::replan`], telling after each chunk how many machines have been looked at so far.
    ///
    /// # Errors
    /// As [`Bmdb::replan`].
    pub async fn replan_with(&self, told: impl FnMut(u64) + Send) -> Result<u64, TxError> {
        self.plan_fleet(Busy::Skip, told).await
    }

    pub(crate) async fn plan_fleet(
        &self,
        busy: Busy,
        mut told: impl FnMut(u64) + Send,
    ) -> Result<u64, TxError> {
        let component = &self.component;
        let mut planned = 0;
        let mut after = None;
        loop {
            let notify = component.notify;
            let plan =
                async |conn: &mut AsyncPgConnection| plan_chunk(conn, after, busy, notify).await;
            let chunk = run_unfenced(&component.pool, component.config.retry_for, &plan).await?;
            let Some(last) = chunk.last() else {
                return Ok(planned);
            };
            after = Some(*last);
            planned += u64::try_from(chunk.len()).unwrap_or(0);
            told(planned);
        }
    }

    /// Deletes history that `retention` does not keep, machine by machine in bounded batches;
    /// returns how many rows. The janitors do the same slowly
    /// ([`Config::retention`](crate::Config::retention)).
    ///
    /// Cancellation: what has been deleted stays deleted.
    ///
    /// # Errors
    /// The database's.
    pub async fn trim_history(&self, retention: Retention) -> Result<u64, TxError> {
        let component = &self.component;
        let mut trimmed = 0;
        let mut after = None;
        loop {
            let trim = async |conn: &mut AsyncPgConnection| {
                Ok(history::trim(conn, retention, after, ROWS).await?)
            };
            let chunk = run_unfenced(&component.pool, component.config.retry_for, &trim).await?;
            trimmed += chunk.rows;
            if chunk.over {
                return Ok(trimmed);
            }
            after = chunk.after;
        }
    }
}

/// The machines are locked by one statement and planned by the next, which sees what was written
/// before the lock.
async fn plan_chunk(
    conn: &mut AsyncPgConnection,
    after: Option<MachineId>,
    busy: Busy,
    notify: Notify,
) -> Result<Vec<MachineId>, TxError> {
    let machines = match busy {
        Busy::Skip => plan::lock_chunk(conn, after, MACHINES).await?,
        Busy::Wait => {
            let machines = machine::page(conn, after, MACHINES).await?;
            internal::machine::touch_existing(conn, &machines).await?;
            machines
        }
    };
    plan::replan_notifying(conn, &machines, notify).await?;
    Ok(machines)
}
