//! Deadlines: how long an operation waits for the database, so that a hung server hangs nothing else.

use crate::db::lease_clock::LeaseInstant;
use crate::error::TxError;
use bmdb_model::{Error, SessionId};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// How long an operation may continue after its lease is lost. A healthy database can still say in this
/// time that the session was closed or had expired.
const GRACE_AFTER_LOSS: Duration = Duration::from_millis(500);

/// How much longer than the server's own statement timeout an answer may take.
const SLACK: Duration = Duration::from_secs(2);

/// What a deadline needs to know of a session's lease.
pub(crate) trait LeaseWatch: std::fmt::Debug + Send + Sync {
    fn session(&self) -> SessionId;

    /// When the lease was lost, if it is.
    fn lost_since(&self) -> Option<LeaseInstant>;

    /// Resolves when the lease is lost, with the time of the loss.
    fn lost(&self) -> BoxFuture<'_, LeaseInstant>;
}

/// The deadline of one operation. Every wait for the database goes through one: otherwise an operation
/// could outlive its session for as long as the operating system keeps a silent connection, which is
/// half a minute over TCP and for ever over a unix socket.
#[derive(Debug, Clone)]
pub(crate) struct Deadline {
    /// How long one answer may take.
    answer: Duration,
    limit: Limit,
}

/// When the whole operation is given up.
#[derive(Debug, Clone)]
enum Limit {
    None,
    At(LeaseInstant),
    /// [`GRACE_AFTER_LOSS`] after the lease is lost or the operation began, whichever is later: the
    /// database judges what begins after the loss.
    Lease(Arc<dyn LeaseWatch>, LeaseInstant),
}

impl Deadline {
    #[cfg(test)]
    pub(crate) fn endless() -> Self {
        Self::per_answer(Duration::MAX)
    }

    /// Each answer may take this long, and the operation any number of answers.
    pub(crate) fn per_answer(limit: Duration) -> Self {
        Self {
            answer: limit,
            limit: Limit::None,
        }
    }

    /// For an operation without a session.
    pub(crate) fn of_server(statement_timeout: Duration) -> Self {
        Self::per_answer(statement_timeout + SLACK)
    }

    /// For an operation of a session.
    pub(crate) fn of_session(statement_timeout: Duration, lease: Arc<dyn LeaseWatch>) -> Self {
        Self {
            limit: Limit::Lease(lease, LeaseInstant::now()),
            ..Self::of_server(statement_timeout)
        }
    }

    /// For closing a session, which expires by itself at `expiry`.
    pub(crate) fn of_closing(statement_timeout: Duration, expiry: LeaseInstant) -> Self {
        Self {
            limit: Limit::At(expiry.max(LeaseInstant::now()) + GRACE_AFTER_LOSS),
            ..Self::of_server(statement_timeout)
        }
    }

    /// Waits for the answer to a statement, or to a transaction of bmdb's own. A timeout is an error like
    /// a lost connection, and the connection must be closed as after one.
    pub(crate) async fn answer<T, E: From<Error>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            biased;
            () = self.passed() => Err(silence("no answer in time".to_owned()).into()),
            answered = tokio::time::timeout(self.answer, answer) => answered.unwrap_or_else(|_| {
                Err(silence(format!("no answer within {:?}", self.answer)).into())
            }),
        }
    }

    /// Like [`Deadline::answer`], but without a limit for each answer: for a caller's closure, and for
    /// the pool, which has its own limits.
    pub(crate) async fn wait_for<T>(
        &self,
        future: impl Future<Output = Result<T, TxError>>,
    ) -> Result<T, TxError> {
        tokio::select! {
            biased;
            () = self.passed() => Err(silence("no answer in time".to_owned()).into()),
            value = future => value,
        }
    }

    pub(crate) fn has_passed(&self) -> bool {
        self.end().is_some_and(LeaseInstant::has_come)
    }

    /// Turns a connection error into `SessionExpired` once the lease is lost.
    pub(crate) fn explain(&self, error: TxError) -> TxError {
        match &self.limit {
            Limit::Lease(lease, _) if error.may_pass() && lease.lost_since().is_some() => {
                tracing::debug!(session = %lease.session(), %error, "the session is lost");
                TxError::SessionExpired
            }
            _ => error,
        }
    }

    /// Resolves when the operation must be given up.
    pub(crate) async fn passed(&self) {
        match &self.limit {
            Limit::None => std::future::pending().await,
            Limit::At(end) => end.reached().await,
            Limit::Lease(lease, begun) => {
                let lost = lease.lost().await;
                (lost.max(*begun) + GRACE_AFTER_LOSS).reached().await;
            }
        }
    }

    fn end(&self) -> Option<LeaseInstant> {
        match &self.limit {
            Limit::None => None,
            Limit::At(end) => Some(*end),
            Limit::Lease(lease, begun) => Some(lease.lost_since()?.max(*begun) + GRACE_AFTER_LOSS),
        }
    }
}

/// The error of a connection that is given up.
pub(crate) fn silence(what: String) -> Error {
    Error::connection_lost(format!("the database is silent: {what}"))
}
