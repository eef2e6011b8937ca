//! Changing a process's definition under load: short waits for a lock, and retries.

use crate::db::database::Database;
use crate::db::items_lock::Tries;
use crate::db::migrate::blockers;
use crate::error::TxError;
use crate::lock::lock;
use bmdb_model::migration::LockHolder;
use bmdb_model::process;
use bmdb_model::{Error, ErrorKind, ProcessDef};
use std::sync::Mutex;
use std::time::Duration;

/// How often a waiting try looks for the transactions that block it.
const BLOCKERS_INTERVAL: Duration = Duration::from_millis(50);

/// Adds or replaces a process's definition.
pub(crate) async fn define(database: &Database, definition: &ProcessDef) -> Result<(), TxError> {
    let process = &definition.process;
    let mut tries = Tries::new();
    let holders = Mutex::new(Vec::new());
    loop {
        let error = match try_define(database, definition, &holders).await {
            Err(error) if is_in_the_way(&error) => error,
            done => return done,
        };
        if let Err(waited) = tries.pause(process, &error).await {
            return Err(match error.kind() {
                Some(ErrorKind::LockTimeout) => Error::DefinitionBlocked {
                    process: process.clone(),
                    waited,
                    holders: std::mem::take(&mut *lock(&holders)),
                }
                .into(),
                _ => error,
            });
        }
    }
}

fn is_in_the_way(error: &TxError) -> bool {
    error
        .kind()
        .is_some_and(|kind| kind.is_retryable() || kind == ErrorKind::LockTimeout)
}

/// One try, which also looks for the transactions that block it.
async fn try_define(
    database: &Database,
    definition: &ProcessDef,
    holders: &Mutex<Vec<LockHolder>>,
) -> Result<(), TxError> {
    let deadline = database.deadline();
    let mut conn = database.checkout(&deadline).await?;
    let pid = conn.info().backend.pid;
    let define = async { Ok(process::define(&mut conn, definition).await?) };
    let watch = async {
        loop {
            tokio::time::sleep(BLOCKERS_INTERVAL).await;
            let found = blockers(database, pid).await;
            if !found.is_empty() {
                *lock(holders) = found;
            }
        }
    };
    // A second connection may not be free in time: then the blocking transactions are not known.
    let result = tokio::select! {
        defined = deadline.answer(define) => defined,
        () = watch => unreachable!("the watch never ends"),
    };
    conn.settle(result)
}
