//! For how long the database is waited for: nothing waits for a server that has fallen silent.

use crate::db::pool::{Checkout, Pool};
use crate::error::TxError;
use crate::session::lease::{Lease, SessionState};
use bmdb_model::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long what is under way may still take when the lease is lost, so that a database that is well
/// can say what came of it: a session may have been closed, or found expired.
const LAST_WORD: Duration = Duration::from_millis(500);

/// What the server's own limit for a statement is exceeded by before its answer is taken for lost.
const SLACK: Duration = Duration::from_secs(2);

/// The patience of one operation. Whoever waits for the database waits through it, or an operation
/// could outlive its session by as long as the operating system keeps a silent connection: half a
/// minute over TCP, for ever over a unix socket.
#[derive(Debug, Clone)]
pub(crate) struct Patience {
    /// How long one answer may take.
    answer: Duration,
    limit: Limit,
}

/// When all of an operation is given up.
#[derive(Debug, Clone)]
enum Limit {
    None,
    At(Instant),
    /// A moment after the lease is lost, and after the operation began: what is begun later is for the
    /// database to judge.
    Lease(Arc<Lease>, Instant),
}

impl Patience {
    #[cfg(test)]
    pub(crate) fn endless() -> Self {
        Self {
            answer: Duration::MAX,
            limit: Limit::None,
        }
    }

    /// That of an operation without a session.
    pub(crate) fn of_server(pool: &Pool) -> Self {
        Self {
            answer: pool.statement_timeout() + SLACK,
            limit: Limit::None,
        }
    }

    /// That of an operation of a session.
    pub(crate) fn of_session(pool: &Pool, lease: Arc<Lease>) -> Self {
        Self {
            limit: Limit::Lease(lease, Instant::now()),
            ..Self::of_server(pool)
        }
    }

    /// That of the end of a session, which ends by itself when the lease has run out.
    pub(crate) fn of_closing(pool: &Pool, lease: &Lease) -> Self {
        let end = lease.trusted_until().max(Instant::now()) + LAST_WORD;
        Self {
            limit: Limit::At(end),
            ..Self::of_server(pool)
        }
    }

    /// A connection of the pool.
    pub(crate) async fn checkout(&self, pool: &Pool) -> Result<Checkout, TxError> {
        tokio::select! {
            biased;
            () = self.exhausted() => {
                let silent = silence("no connection in time".to_owned());
                Err(self.explain(TxError::Unavailable(silent.into())))
            }
            checkout = pool.checkout() => checkout.map_err(|error| self.explain(error)),
        }
    }

    /// The answer to a statement, or to a transaction of our own. One that does not come is an error
    /// like that of a connection that is lost, and the caller does with the connection what is done with
    /// those.
    pub(crate) async fn answer<T, E: From<Error>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        tokio::select! {
            biased;
            () = self.exhausted() => Err(silence("no answer in time".to_owned()).into()),
            answered = tokio::time::timeout(self.answer, answer) => answered.unwrap_or_else(|_| {
                Err(silence(format!("no answer within {:?}", self.answer)).into())
            }),
        }
    }

    /// As [`Patience::answer`], for a caller's closure, which may take any time.
    pub(crate) async fn answers<T>(
        &self,
        answers: impl Future<Output = Result<T, TxError>>,
    ) -> Result<T, TxError> {
        tokio::select! {
            biased;
            () = self.exhausted() => Err(silence("no answer in time".to_owned()).into()),
            answers = answers => answers,
        }
    }

    pub(crate) fn is_exhausted(&self) -> bool {
        let now = Instant::now();
        self.end().is_some_and(|end| now >= end)
    }

    /// What an error of the connection means for the caller: without the lease, the session.
    pub(crate) fn explain(&self, error: TxError) -> TxError {
        match &self.limit {
            Limit::Lease(lease, _)
                if error.is_transient() && lease.state() == SessionState::Lost =>
            {
                tracing::debug!(session = %lease.session, %error, "the session is lost");
                TxError::SessionExpired
            }
            _ => error,
        }
    }

    async fn exhausted(&self) {
        match &self.limit {
            Limit::None => std::future::pending().await,
            Limit::At(end) => tokio::time::sleep_until(*end).await,
            Limit::Lease(lease, begun) => {
                let lost = lease.lost().await;
                tokio::time::sleep_until(lost.max(*begun) + LAST_WORD).await;
            }
        }
    }

    fn end(&self) -> Option<Instant> {
        match &self.limit {
            Limit::None => None,
            Limit::At(end) => Some(*end),
            Limit::Lease(lease, begun) => Some(lease.lost_since()?.max(*begun) + LAST_WORD),
        }
    }
}

/// The error of a connection that is given up.
fn silence(what: String) -> Error {
    Error::connection_lost(format!("the database is silent: {what}"))
}
