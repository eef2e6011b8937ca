//! Ending work: finish, fail and cancel, each exactly once, whatever happens to the connection.

use crate::config::History;
use crate::error::TxError;
use crate::retry::Retry;
use crate::transaction::{Ran, Tx, TxFn, TxOptions, give_back_unless_lost};
use crate::work::Work;
use bmdb_backoff::{Backoff, Seconds, mix};
use bmdb_model::history::Outcome;
use bmdb_model::work::{self, Ended, FailedAttempt, Fate};
use bmdb_model::{Failure, connection::Isolation};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;

/// Why an end failed, and the work itself if it is still held: retry, fail or cancel it.
#[derive(Debug)]
pub struct EndError {
    reason: TxError,
    work: Option<Box<Work>>,
}

impl EndError {
    /// Why.
    #[must_use]
    pub fn reason(&self) -> &TxError {
        &self.reason
    }

    /// The work, unless it is lost.
    #[must_use]
    pub fn into_work(self) -> Option<Work> {
        self.work.map(|work| *work)
    }

    /// Both.
    #[must_use]
    pub fn into_parts(self) -> (TxError, Option<Work>) {
        (self.reason, self.work.map(|work| *work))
    }
}

impl std::fmt::Display for EndError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.reason.fmt(f)
    }
}

impl std::error::Error for EndError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

/// A failure as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// The un-jittered interval, which the next one grows from.
    pub interval: Seconds,
    /// When the machine may be worked on again, by the database's clock.
    pub until: DateTime<Utc>,
}

impl Work {
    /// Ends the work as finished: what `body` writes and the end are committed together. Clears the
    /// process's backoff and failures on the machine.
    ///
    /// The transaction is READ COMMITTED and touches the machine first, so everything about this
    /// machine is stable under the closure; for one that decides on other machines use
    /// [`Work::finish_with`]. The closure may run more than once.
    ///
    /// Cancellation: a dropped future leaves the work ended, or cancelled in the background.
    ///
    /// # Errors
    /// [`EndError`] gives the work back unless it is lost; nothing of the closure is committed then,
    /// save for [`TxError::CommitUnknown`].
    pub async fn finish<T, F>(self, body: F) -> Result<T, EndError>
    where
        F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<T, TxError>, Fut: Send> + Send + Sync,
        T: Send,
    {
        let options = TxOptions {
            isolation: Isolation::ReadCommitted,
            ..TxOptions::default()
        };
        self.finish_with(options, body).await
    }

    /// As [`Work::finish`], in another kind of transaction.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn finish_with<T, F>(self, options: TxOptions, body: F) -> Result<T, EndError>
    where
        F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<T, TxError>, Fut: Send> + Send + Sync,
        T: Send,
    {
        let (session, attempt, body) = (self.session(), self.attempt(), &body);
        let mut retry = session.retry(options.retry_for);
        let finished = loop {
            let ran = session
                .transact(options, &mut retry, &async |tx: &mut Tx<'_>| {
                    tx.touch(attempt.machine).await?;
                    recorded(work::finish(tx, attempt).await?)?;
                    body(tx).await
                })
                .await;
            match ran {
                Ok(Ran::Committed(value)) => break Ok(value),
                Ok(Ran::CommitUnknown(value, error)) => {
                    match self.settle(error, Outcome::Finished, &mut retry).await {
                        Ok(Settled::Ended(_)) => break Ok(value),
                        Ok(Settled::Held) => {}
                        Err(error) => break Err(error),
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.conclude_by(finished)
    }

    /// Ends the work as finished without changing any tag: one statement. A machine that still
    /// needs the process may be claimed again at once.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn finish_unchanged(self) -> Result<(), EndError> {
        let attempt = self.attempt();
        let ended = self
            .end_by(Outcome::Finished, &async |conn: &mut AsyncPgConnection| {
                recorded(work::finish(conn, attempt).await?).map(|()| None)
            })
            .await;
        self.conclude_by(ended.map(drop))
    }

    /// Ends the work as failed: the machine rests for the next interval of `backoff`, which is
    /// computed from the one before it. One statement.
    ///
    /// A `cause` longer than 8 KiB is cut with a mark.
    ///
    /// # Errors
    /// As [`Work::finish`]; [`bmdb_model::Error::NulByte`] for the cause.
    pub async fn fail(self, backoff: &Backoff, cause: &str) -> Result<Failed, EndError> {
        let random = mix(
            self.machine().as_uuid().as_u128(),
            self.fence().get().cast_unsigned(),
        );
        let step = backoff.step(self.previous_interval(), random);
        let failed = &FailedAttempt {
            delay_seconds: step.delay.get(),
            interval_seconds: step.interval.get(),
            cause,
            fold: self.session().component.config.history == History::Folded,
        };
        let attempt = self.attempt();
        let ended = self
            .end_by(Outcome::Failed, &async |conn: &mut AsyncPgConnection| {
                recorded(work::fail(conn, attempt, failed).await?).map(Some)
            })
            .await;
        let failed = ended.and_then(|until| {
            let until = until.ok_or(TxError::WorkLost)?;
            Ok(Failed {
                interval: step.interval,
                until,
            })
        });
        self.conclude_by(failed)
    }

    /// Gives the machine back without a verdict, as for a shutdown: a backoff's interval survives.
    /// One statement.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn cancel(self) -> Result<(), EndError> {
        let attempt = self.attempt();
        let ended = self
            .end_by(Outcome::Canceled, &async |conn: &mut AsyncPgConnection| {
                recorded(work::cancel(conn, attempt).await?).map(|()| None)
            })
            .await;
        self.conclude_by(ended.map(drop))
    }

    /// Runs an end that is one statement; returns the backoff's end if it made one.
    async fn end_by<F>(
        &self,
        outcome: Outcome,
        statement: &F,
    ) -> Result<Option<DateTime<Utc>>, TxError>
    where
        F: for<'r> TxFn<
                &'r mut AsyncPgConnection,
                Result<Option<DateTime<Utc>>, TxError>,
                Fut: Send,
            > + Sync,
    {
        let session = self.session();
        let mut retry = session.retry(None);
        let mut in_doubt = false;
        loop {
            let mut lease = session.component.pool.lease().await?;
            match statement(&mut lease).await {
                Ok(until) => {
                    lease.give_back();
                    return Ok(until);
                }
                Err(TxError::Database(error)) if error.failure() == Failure::ConnectionLost => {
                    in_doubt = true;
                    drop(lease);
                    match self.settle(error, outcome, &mut retry).await? {
                        Settled::Ended(until) => return Ok(until),
                        Settled::Held => {}
                    }
                }
                Err(TxError::WorkLost) if in_doubt => {
                    lease.give_back();
                    // The statement that was in doubt took effect after all?
                    return match self.fate().await? {
                        Fate::Ended(ended, until) if ended == outcome => Ok(until),
                        _ => Err(TxError::WorkLost),
                    };
                }
                Err(error) => {
                    give_back_unless_lost(lease, &error);
                    retry.after(error).await?;
                }
            }
        }
    }

    /// Finds out, through the fence, what became of an end whose answer was lost.
    async fn settle(
        &self,
        unknown: bmdb_model::Error,
        outcome: Outcome,
        retry: &mut Retry,
    ) -> Result<Settled, TxError> {
        loop {
            match self.fate().await {
                Ok(Fate::Ended(ended, until)) if ended == outcome => {
                    return Ok(Settled::Ended(until));
                }
                Ok(Fate::Ended(..)) => return Err(TxError::WorkLost),
                Ok(Fate::Held) if retry.pause().await => return Ok(Settled::Held),
                Err(error) if error.is_transient() && retry.pause().await => {}
                _ => return Err(TxError::CommitUnknown(unknown)),
            }
        }
    }

    async fn fate(&self) -> Result<Fate, TxError> {
        let mut lease = self.session().component.pool.lease().await?;
        match work::fate(&mut lease, self.attempt()).await {
            Ok(fate) => {
                lease.give_back();
                Ok(fate)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn conclude_by<T>(self, ended: Result<T, TxError>) -> Result<T, EndError> {
        match self.session().heed(ended) {
            Ok(value) => {
                self.conclude();
                Ok(value)
            }
            Err(reason @ (TxError::SessionExpired | TxError::WorkLost)) => {
                self.conclude();
                Err(EndError { reason, work: None })
            }
            Err(reason) => Err(EndError {
                reason,
                work: Some(Box::new(self)),
            }),
        }
    }
}

/// What became of an end whose answer was lost.
enum Settled {
    /// It took effect; with the end of the backoff it made.
    Ended(Option<DateTime<Utc>>),
    /// It did not: try again.
    Held,
}

fn recorded<T>(ended: Ended<T>) -> Result<T, TxError> {
    match ended {
        Ended::Done(value) => Ok(value),
        Ended::SessionExpired => Err(TxError::SessionExpired),
        Ended::Lost => Err(TxError::WorkLost),
    }
}
