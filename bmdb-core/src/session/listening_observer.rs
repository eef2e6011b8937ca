//! The observer of whether anybody listens to agents.
//!
//! An observation is never needed for safety: what was observed too long ago counts as a gap. It is needed so
//! that listening goes on, and machines that are silent are recovered.

use crate::db::database::Database;
use crate::db::retry::jittered;
use crate::error::TxError;
use crate::lock::lock;
use bmdb_model::ErrorKind;
use bmdb_model::internal::agent;
use diesel_async::AsyncPgConnection;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// After which time a claim observes by itself, because no janitor of this component has.
const CLAIMS_PERIOD: Duration = Duration::from_secs(15);

/// The longest time between two observations by a janitor.
const JANITORS_PERIOD: Duration = Duration::from_secs(14);

/// When this component last observed who listens to agents, by its own clock.
#[derive(Debug, Default)]
pub(crate) struct ListeningObserver {
    last: Mutex<Option<Instant>>,
}

impl ListeningObserver {
    /// Observes on the connection of a claim that is about to replan, if this component has not for a while.
    /// Only a lost connection is an error.
    pub(crate) async fn observe_before_claim(
        &self,
        conn: &mut AsyncPgConnection,
    ) -> Result<(), TxError> {
        {
            let mut last = lock(&self.last);
            if last.is_some_and(|last| last.elapsed() < CLAIMS_PERIOD) {
                return Ok(());
            }
            *last = Some(Instant::now());
        }
        match agent::observe_listening(conn).await.map_err(TxError::from) {
            Err(error) if error.kind() == Some(ErrorKind::ConnectionLost) => Err(error),
            Err(error) => {
                log(&error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Observes until it is aborted, however seldom the janitor takes its turn.
    pub(crate) async fn run(self: Arc<Self>, database: Database) {
        let entropy = Uuid::new_v4().as_u128();
        for turn in 0.. {
            *lock(&self.last) = Some(Instant::now());
            observe(&database).await;
            let third = JANITORS_PERIOD / 3;
            tokio::time::sleep(third * 2 + jittered(third, bmdb_backoff::mix(entropy, turn))).await;
        }
    }
}

/// Observes now. An error is only logged: the next observation is soon, and a gap does no harm.
pub(crate) async fn observe(database: &Database) {
    let observed = database.run(async |conn| Ok(agent::observe_listening(conn).await?));
    if let Err(error) = observed.await {
        log(&error);
    }
}

/// As [`observe`], for an operation that goes on with the database: that it does not answer is an error.
pub(crate) async fn observe_first(database: &Database) -> Result<(), TxError> {
    let observed = database.run(async |conn| Ok(agent::observe_listening(conn).await?));
    match observed.await {
        Err(error) if error.may_pass() => Err(error),
        Err(error) => {
            log(&error);
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn log(error: &TxError) {
    tracing::debug!(%error, "it could not be observed who listens to agents");
}
