//! Upkeep of a whole database: process definitions, re-planning of the fleet, trimming of history.

use crate::bmdb::Bmdb;
use crate::error::TxError;
use crate::retry::Retry;
use crate::transaction::give_back_unless_lost;
use bmdb_model::connection::{self, Access, Isolation};
use bmdb_model::history::{self, Retention};
use bmdb_model::{MachineId, ProcessDef, plan, process};
use diesel_async::AsyncPgConnection;

/// How many machines are planned, and how many rows of history deleted, in one transaction.
const CHUNK: i64 = 500;

impl Bmdb {
    /// Adds or replaces a process's definition and plans the fleet by it.
    ///
    /// # Errors
    /// [`bmdb_model::Error::InvalidDefinition`], or the database's.
    pub async fn define_process(&self, definition: &ProcessDef) -> Result<(), TxError> {
        let mut conn = self.component.pool.lease().await?;
        process::define(&mut conn, definition).await?;
        conn.give_back();
        self.replan().await.map(drop)
    }

    /// Plans every machine anew, in chunks; returns how many were looked at. Repairs whatever was
    /// written past the planner. Machines that somebody is just writing are left to that writer.
    ///
    /// Cancellation: what has been planned stays planned.
    ///
    /// # Errors
    /// The database's.
    pub async fn replan(&self) -> Result<u64, TxError> {
        let mut planned = 0;
        let mut after = None;
        let mut retry = Retry::new(self.component.config.retry_for);
        loop {
            let mut conn = self.component.pool.lease().await?;
            match replan_chunk(&mut conn, after).await {
                Ok(chunk) => {
                    conn.give_back();
                    let Some(last) = chunk.last() else {
                        return Ok(planned);
                    };
                    after = Some(*last);
                    planned += u64::try_from(chunk.len()).unwrap_or(0);
                }
                Err(error) => {
                    let error = TxError::from(error);
                    if connection::roll_back(&mut conn).await.is_ok() {
                        give_back_unless_lost(conn, &error);
                    }
                    retry.after(error).await?;
                }
            }
        }
    }

    /// Deletes history that `retention` does not keep, in bounded batches; returns how many rows.
    ///
    /// # Errors
    /// The database's.
    pub async fn trim_history(&self, retention: Retention) -> Result<u64, TxError> {
        let mut trimmed = 0;
        loop {
            let mut conn = self.component.pool.lease().await?;
            let batch = history::trim(&mut conn, retention, CHUNK).await?;
            conn.give_back();
            if batch == 0 {
                return Ok(trimmed);
            }
            trimmed += u64::try_from(batch).unwrap_or(0);
        }
    }
}

/// READ COMMITTED: the machines are locked by one statement and planned by the next, which sees what
/// was written before the lock.
async fn replan_chunk(
    conn: &mut AsyncPgConnection,
    after: Option<MachineId>,
) -> Result<Vec<MachineId>, bmdb_model::Error> {
    connection::begin(conn, Isolation::ReadCommitted, Access::ReadWrite).await?;
    let machines = plan::lock_chunk(conn, after, CHUNK).await?;
    plan::machines(conn, &machines).await?;
    connection::commit(conn).await?;
    Ok(machines)
}
