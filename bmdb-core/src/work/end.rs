//! Ending work: finish, fail and cancel, each exactly once, whatever happens to the connection.

mod within;

use crate::db::config::HistoryDetail;
use crate::db::retry::Retry;
use crate::db::transaction::TxOptions;
use crate::db::tx::Tx;
use crate::db::tx_fn::TxBody;
use crate::error::TxError;
use crate::telemetry::{self, WorkResult};
use crate::work::Work;
use crate::work::end_batcher::{Alone, Awaited, End, Verdict, end_all};
use bmdb_backoff::{Backoff, Seconds, mix};
use bmdb_model::history::Outcome;
use bmdb_model::work::{self, AttemptState, Ended, Release};
use bmdb_model::{Failure, hold};
use chrono::{DateTime, Utc};
use tracing::Instrument;

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
pub struct FailureRecorded {
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
    /// [`Work::finish_with`]. The closure may run more than once. Three round trips beside its own.
    ///
    /// Cancellation: a dropped future leaves the work ended, or canceled in the background.
    ///
    /// # Errors
    /// [`EndError`] gives the work back unless it is lost; nothing of the closure is committed then,
    /// save for [`TxError::CommitUnknown`]. From a database that has fallen silent: `CommitUnknown` when
    /// what ends the work had been sent, else [`TxError::SessionExpired`], both as soon as the session is
    /// lost and without the work.
    pub async fn finish<T, F>(self, body: F) -> Result<T, EndError>
    where
        F: TxBody<T>,
        T: Send,
    {
        self.finish_with(TxOptions::read_committed(), body).await
    }

    /// As [`Work::finish`], in another kind of transaction.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn finish_with<T, F>(self, options: TxOptions, body: F) -> Result<T, EndError>
    where
        F: TxBody<T>,
        T: Send,
    {
        let finish = End::Released(Release::Finished);
        let finished = self.end_within(options, &finish, &body).await;
        self.conclude_by(Outcome::Finished, finished.map(|(value, _)| value))
    }

    /// Ends the work as finished without changing any tag: one statement and one round trip, as are
    /// [`Work::fail`] and [`Work::cancel`]. A machine that still needs the process may be claimed
    /// again at once.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn complete(self) -> Result<(), EndError> {
        let ended = self.end_by(End::Released(Release::Finished)).await;
        self.conclude_by(Outcome::Finished, ended.map(drop))
    }

    /// Ends the work as failed: the machine rests for the next interval of `backoff`, which is
    /// computed from the one before it. One statement.
    ///
    /// A `cause` longer than 8 KiB is cut with a mark.
    ///
    /// # Errors
    /// As [`Work::finish`]; [`bmdb_model::Error::NulByte`] for the cause.
    pub async fn fail(self, backoff: &Backoff, cause: &str) -> Result<FailureRecorded, EndError> {
        let (interval, end) = self.failure(backoff, cause);
        let ended = self.end_by(end).await;
        self.conclude_failed(interval, ended)
    }

    /// Ends the work as failed and puts the machine on hold, both or neither: nothing starts on it any
    /// more, whatever the process, until somebody releases it. The hold's reason is the cause; one that
    /// an operator has put there meanwhile keeps its own. The backoff is what the machine comes out of
    /// the hold with.
    ///
    /// Three round trips and two more.
    ///
    /// # Errors
    /// As [`Work::finish`]; [`bmdb_model::Error::NulByte`] or [`bmdb_model::Error::Empty`] for the cause.
    pub async fn fail_and_hold(
        self,
        backoff: &Backoff,
        cause: &str,
    ) -> Result<FailureRecorded, EndError> {
        let (interval, end) = self.failure(backoff, cause);
        let machine = self.machine();
        let hold = &async |tx: &mut Tx<'_>| {
            if hold::of(tx, machine).await?.is_none() {
                let reason = work::recorded_cause(cause)?;
                tx.hold(machine, &reason).await?;
            }
            Ok(())
        };
        let ended = self
            .end_within(TxOptions::read_committed(), &end, hold)
            .await;
        self.conclude_failed(interval, ended.map(|((), until)| until))
    }

    /// Gives the machine back without a verdict, as for a shutdown: a backoff's interval survives.
    /// One statement.
    ///
    /// # Errors
    /// As [`Work::finish`].
    pub async fn cancel(self) -> Result<(), EndError> {
        let ended = self.end_by(End::Released(Release::Canceled)).await;
        self.conclude_by(Outcome::Canceled, ended.map(drop))
    }

    /// The next interval of a backoff, and the end that makes the machine rest for it.
    pub(crate) fn failure(&self, backoff: &Backoff, cause: &str) -> (Seconds, End) {
        let random = mix(
            self.machine().as_uuid().as_u128(),
            self.fence().get().cast_unsigned(),
        );
        let step = backoff.step(self.previous_interval(), random);
        let end = End::Failed {
            delay_seconds: step.delay.get(),
            interval_seconds: step.interval.get(),
            cause: cause.to_owned(),
            fold: self.session().component.config.history == HistoryDetail::Folded,
        };
        (step.interval, end)
    }

    /// Runs an end that is one statement; returns the backoff's end if it made one.
    async fn end_by(&self, end: End) -> Result<Option<DateTime<Utc>>, Why> {
        let session = self.session();
        let one = [(self.attempt().clone(), end.clone())];
        let awaited = session.begin_ends(one).pop();
        self.end_by_group(end, awaited).await
    }

    /// Waits for an end that is on its way together with others; what comes to no verdict there
    /// ends alone.
    pub(crate) async fn end_by_group(
        &self,
        end: End,
        awaited: Option<Awaited>,
    ) -> Result<Option<DateTime<Utc>>, Why> {
        let span = telemetry::end(&self.span(), end.outcome().into());
        self.await_end(end, awaited).instrument(span).await
    }

    async fn await_end(
        &self,
        end: End,
        awaited: Option<Awaited>,
    ) -> Result<Option<DateTime<Utc>>, Why> {
        let session = self.session();
        let mut retry = session.retry(None);
        let verdict = match awaited {
            Some(awaited) => awaited.await.unwrap_or_else(|_| {
                let in_doubt = Some("the runtime is shutting down".to_owned());
                Err(Alone { in_doubt })
            }),
            None => Err(Alone { in_doubt: None }),
        };
        let mut lost = match verdict {
            Ok(verdict) => return self.judge(verdict, &end, false, &mut retry).await,
            Err(Alone { in_doubt }) => in_doubt.map(bmdb_model::Error::connection_lost),
        };
        let mut in_doubt = false;
        loop {
            if let Some(error) = lost.take() {
                in_doubt = true;
                match self.settle(end.outcome(), &mut retry).await {
                    Some(Settled::Ended(until)) => return Ok(until),
                    Some(Settled::Gone(reason)) => return Err(Why::Gone(reason)),
                    Some(Settled::Held) if retry.pause().await => {}
                    // Held or not to be found out: the statement may still be on its way.
                    _ => return Err(Why::Failed(TxError::CommitUnknown(error))),
                }
            }
            let checkout = session.component.database.checkout_for(&retry).await;
            let mut conn = checkout.map_err(|error| Why::unless_in_doubt(in_doubt, error))?;
            let attempt = self.attempt();
            let one = [(attempt, &end)];
            let ended = end_all(&mut conn, attempt.session, &one);
            match retry.deadline().answer(ended).await {
                Ok(verdicts) => {
                    conn.give_back();
                    let verdict = verdicts.first().copied().unwrap_or(Ended::Lost);
                    if let Ended::Done(_) = verdict {
                        self.count_end(end.outcome());
                    }
                    return self.judge(verdict, &end, in_doubt, &mut retry).await;
                }
                Err(error) if error.failure() == Failure::ConnectionLost => lost = Some(error),
                Err(error) => {
                    let error = error.into();
                    conn.give_back_after(&error);
                    let again = retry.after(error).await;
                    again.map_err(|error| Why::unless_in_doubt(in_doubt, error))?;
                }
            }
        }
    }

    async fn judge(
        &self,
        verdict: Verdict,
        end: &End,
        in_doubt: bool,
        retry: &mut Retry,
    ) -> Result<Option<DateTime<Utc>>, Why> {
        let gone = match verdict {
            Ended::Done(until) => return Ok(until),
            Ended::SessionExpired => self.session().expired(),
            Ended::Lost => TxError::WorkLost,
        };
        if !in_doubt {
            return Err(Why::Gone(gone));
        }
        // The statement that was in doubt took effect after all?
        match self.settle(end.outcome(), retry).await {
            Some(Settled::Ended(until)) => Ok(until),
            Some(Settled::Gone(_) | Settled::Held) => Err(Why::Gone(gone)),
            None => {
                let unknown = "it ended, and by which statement could not be found out";
                let error = bmdb_model::Error::connection_lost(unknown.to_owned());
                Err(Why::Gone(TxError::CommitUnknown(error)))
            }
        }
    }

    /// Finds out, through the fence, what became of an end whose answer was lost; `None` when that
    /// cannot be found out in time.
    async fn settle(&self, outcome: Outcome, retry: &mut Retry) -> Option<Settled> {
        loop {
            match self.fate(retry).await {
                Ok(AttemptState::Held) => return Some(Settled::Held),
                Ok(AttemptState::Ended(ended, until)) if ended == outcome => {
                    self.count_end(outcome);
                    return Some(Settled::Ended(until));
                }
                Ok(AttemptState::Ended(other, _)) => {
                    return Some(Settled::Gone(self.gone_by(other)));
                }
                Err(error) if error.is_transient() && retry.pause().await => {}
                Ok(AttemptState::Unknown) | Err(_) => return None,
            }
        }
    }

    /// Why the work is not held any more, when it came to an end that nobody here has asked for: of a
    /// session that has expired or was closed, or by the hand of an operator.
    fn gone_by(&self, other: Outcome) -> TxError {
        let session = self.session();
        if other == Outcome::Expired {
            return session.expired();
        }
        session.refuse_if_lost().err().unwrap_or(TxError::WorkLost)
    }

    fn count_end(&self, outcome: Outcome) {
        self.session()
            .component
            .attempt_counts
            .ended(self.process(), outcome);
    }

    async fn fate(&self, retry: &mut Retry) -> Result<AttemptState, TxError> {
        let database = &self.session().component.database;
        let mut conn = database.checkout_for(retry).await?;
        let fate = work::fate(&mut conn, self.attempt());
        let fate = retry.deadline().answer(fate).await?;
        conn.give_back();
        Ok(fate)
    }

    pub(crate) fn conclude_failed(
        self,
        interval: Seconds,
        ended: Result<Option<DateTime<Utc>>, Why>,
    ) -> Result<FailureRecorded, EndError> {
        let failed = ended.and_then(|until| {
            let until = until.ok_or(Why::Gone(TxError::WorkLost))?;
            Ok(FailureRecorded { interval, until })
        });
        self.conclude_by(Outcome::Failed, failed)
    }

    /// Work that is gone needs no end, and is canceled all the same when it is dropped: that costs a
    /// statement in the background, and errs on the side of a free machine.
    pub(crate) fn conclude_by<T>(
        mut self,
        outcome: Outcome,
        ended: Result<T, Why>,
    ) -> Result<T, EndError> {
        match ended {
            Ok(value) => {
                self.count(outcome.into());
                self.conclude();
                Ok(value)
            }
            Err(Why::Gone(reason)) => {
                self.count(WorkResult::Lost);
                Err(EndError { reason, work: None })
            }
            // No later end could change anything: the machine is freed by others, or has been.
            Err(Why::Failed(reason)) if self.session().refuse_if_lost().is_err() => {
                Err(EndError { reason, work: None })
            }
            Err(Why::Failed(reason)) => Err(EndError {
                reason,
                work: Some(Box::new(self)),
            }),
        }
    }
}

/// Why an end failed.
pub(crate) enum Why {
    /// The work is not held any more.
    Gone(TxError),
    /// It still is, or that is not known.
    Failed(TxError),
}

impl Why {
    /// An error says that nothing was committed; after a statement whose answer was lost that is not
    /// known.
    fn unless_in_doubt(in_doubt: bool, error: TxError) -> Self {
        if in_doubt {
            let lost = bmdb_model::Error::connection_lost(error.to_string());
            return Self::Failed(TxError::CommitUnknown(lost));
        }
        Self::Failed(error)
    }
}

/// What became of an end whose answer was lost.
enum Settled {
    /// It took effect; with the end of the backoff it made.
    Ended(Option<DateTime<Utc>>),
    /// It did not: the work is still held.
    Held,
    /// The work came to another end; what that means for its holder.
    Gone(TxError),
}
