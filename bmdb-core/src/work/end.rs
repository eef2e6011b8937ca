//! Ends: an attempt is finished, failed or canceled exactly once, even if the connection breaks.

use crate::db::pool::Checkout;
use crate::db::retry::Retry;
use crate::error::TxError;
use crate::session::attempt_end::{AttemptEnd, EndOutcome, end_all, random_of};
use crate::telemetry;
use crate::work::end_batcher::{BatchError, PendingEnd};
use crate::work::end_error::{EndError, FailureRecorded};
use crate::work::inner::SessionInner;
use crate::work::open_attempt::OpenAttempt;
use crate::work::refused_text::or_in_ascii;
use bmdb_backoff::{Backoff, Seconds};
use bmdb_model::history::Outcome;
use bmdb_model::internal::work::{self, AttemptState, Rest, Waiting};
use bmdb_model::{ErrorKind, TagWrites};
use futures_util::future::join_all;
use std::sync::Arc;
use tracing::Instrument;

/// Ends attempts in the same way; see [`Session::finish_all`](crate::Session::finish_all).
pub(crate) async fn release_all(
    session: &SessionInner,
    attempts: impl Iterator<Item = OpenAttempt>,
    end: AttemptEnd,
) -> Vec<Result<(), EndError>> {
    let ends = attempts.map(|open| (open, end.clone())).collect();
    let ended = end_independently(session, ends).await.into_iter();
    ended.map(|ended| ended.map(drop)).collect()
}

/// Ends attempts as finished; see [`Session::finish_all`](crate::Session::finish_all).
pub(crate) async fn finish_all(
    session: &SessionInner,
    finishes: impl Iterator<Item = (OpenAttempt, TagWrites)>,
) -> Vec<Result<(), EndError>> {
    // What cannot be stored is refused before anything is sent, and without harm to the others.
    let (checked, ends): (Vec<Result<(), EndError>>, Vec<_>) = finishes
        .map(|(open, writes)| match writes.check() {
            Ok(()) => (Ok(()), Some((open, AttemptEnd::finished(Arc::new(writes))))),
            Err(error) => (Err(open.not_ended(error.into())), None),
        })
        .unzip();
    let ends = ends.into_iter().flatten().collect();
    let mut ended = end_independently(session, ends).await.into_iter();
    let result = |checked: Result<(), EndError>| {
        checked.and_then(|()| ended.next().map_or(Ok(()), |ended| ended.map(drop)))
    };
    checked.into_iter().map(result).collect()
}

/// Ends attempts as failed; see [`Session::fail_all`](crate::Session::fail_all).
pub(crate) async fn fail_all<'a>(
    session: &SessionInner,
    failures: impl Iterator<Item = (OpenAttempt, &'a Backoff, &'a str)>,
) -> Vec<Result<FailureRecorded, EndError>> {
    let (asked, ends): (Vec<_>, Vec<_>) = failures
        .map(|(open, backoff, cause)| {
            let (interval, end) = open.failure(backoff, cause);
            ((interval, backoff, cause), (open, end))
        })
        .unzip();
    let ended = end_independently(session, ends).await.into_iter();
    let failed = asked.into_iter().zip(ended);
    let failed = failed.map(async |((interval, backoff, cause), ended)| {
        let again = async |open: OpenAttempt, cause: String| open.fail_once(backoff, &cause).await;
        or_in_ascii(recorded(interval, ended), cause, again).await
    });
    join_all(failed).await
}

/// Hands the ends of this session's attempts to its batcher at once. An attempt of another session,
/// which this one's statement would not find, ends alone.
async fn end_independently(
    session: &SessionInner,
    ends: Vec<(OpenAttempt, AttemptEnd)>,
) -> Vec<Result<Option<Rest>, EndError>> {
    let is_own = |open: &OpenAttempt| open.attempt.session == session.lease().session;
    let own = ends.iter().filter(|(open, _)| is_own(open));
    let own = own.map(|(open, end)| (open.attempt.clone(), end.clone()));
    let mut pending = session.end_batcher.submit(own).into_iter();
    let ended = ends.into_iter().map(|(open, end)| {
        let pending = if is_own(&open) { pending.next() } else { None };
        open.end_batched(end, pending)
    });
    join_all(ended).await
}

impl OpenAttempt {
    /// See [`Work::fail`](crate::Work::fail).
    pub(super) async fn fail(
        self,
        backoff: &Backoff,
        cause: &str,
    ) -> Result<FailureRecorded, EndError> {
        let ended = self.fail_once(backoff, cause).await;
        let again = async |open: OpenAttempt, cause: String| open.fail_once(backoff, &cause).await;
        or_in_ascii(ended, cause, again).await
    }

    async fn fail_once(self, backoff: &Backoff, cause: &str) -> Result<FailureRecorded, EndError> {
        let (interval, end) = self.failure(backoff, cause);
        recorded(interval, self.end(end).await)
    }

    /// The next interval of a backoff, and the end that makes the machine back off for it.
    pub(super) fn failure(&self, backoff: &Backoff, cause: &str) -> (Seconds, AttemptEnd) {
        let step = backoff.step(self.previous_interval, self.random());
        let end = AttemptEnd::Failed {
            delay_seconds: step.delay.get(),
            interval_seconds: step.interval.get(),
            cause: cause.to_owned(),
            fold: self.session.component.config.history.folds(),
        };
        (step.interval, end)
    }

    /// A random number that stays the same for this attempt.
    pub(super) fn random(&self) -> u64 {
        random_of(&self.attempt)
    }

    /// See [`Work::complete_with`](crate::Work::complete_with).
    pub(super) async fn finish(self, writes: Arc<TagWrites>) -> Result<Option<Rest>, EndError> {
        match writes.check() {
            Ok(()) => self.end(AttemptEnd::finished(writes)).await,
            Err(error) => Err(self.not_ended(error.into())),
        }
    }

    /// Ends the attempt in a statement or transaction that it shares with others that end at the same time.
    /// Returns the backoff or rest that the end begins.
    pub(super) async fn end(self, end: AttemptEnd) -> Result<Option<Rest>, EndError> {
        let one = [(self.attempt.clone(), end.clone())];
        let pending = self.session.end_batcher.submit(one).pop();
        self.end_batched(end, pending).await
    }

    /// Waits for an end in the batcher; after a failed batch, or outside of one, the attempt ends alone.
    async fn end_batched(
        self,
        end: AttemptEnd,
        pending: Option<PendingEnd>,
    ) -> Result<Option<Rest>, EndError> {
        let span = telemetry::end(&self.span, end.outcome());
        let ended = async move {
            // Its limits count from here on, not from the failure of a batch.
            let mut retry = self.session.retry(None);
            let answer = match pending {
                Some(pending) => pending.await.unwrap_or_else(|_| {
                    let in_doubt = Some("the runtime is shutting down".to_owned());
                    Err(BatchError { in_doubt })
                }),
                None => Err(BatchError { in_doubt: None }),
            };
            match answer {
                // Another transaction has locked the item or machine: it is waited for without delaying others.
                Ok(EndOutcome::Busy) => self.end_alone(&end, None, &mut retry).await,
                Ok(outcome) => self.conclude(&end, outcome),
                Err(BatchError { in_doubt }) => self.end_alone(&end, in_doubt, &mut retry).await,
            }
        };
        ended.instrument(span).await
    }

    /// Ends the attempt by itself, repeatedly if necessary. `in_doubt` says how the
    /// answer to an earlier statement was lost.
    async fn end_alone(
        self,
        end: &AttemptEnd,
        in_doubt: Option<String>,
        retry: &mut Retry,
    ) -> Result<Option<Rest>, EndError> {
        let mut lost = in_doubt.map(bmdb_model::Error::connection_lost);
        let mut in_doubt = false;
        loop {
            if let Some(error) = lost.take() {
                in_doubt = true;
                match self.look_up(retry).await {
                    AttemptState::Ended(outcome, rest) => {
                        let found = self.found(end, outcome, rest);
                        return self.conclude(end, found);
                    }
                    AttemptState::Claimed if retry.pause().await => {}
                    // Even if the attempt is claimed, the statement may still be on its way.
                    _ => return Err(self.not_ended(TxError::CommitUnknown(error))),
                }
            }
            match self.end_once(end, retry).await {
                Ok(outcome) if in_doubt => {
                    return self.conclude_in_doubt(end, outcome, retry).await;
                }
                Ok(outcome) => return self.conclude(end, outcome),
                Err(TxError::Database(error)) if error.kind() == ErrorKind::ConnectionLost => {
                    lost = Some(error);
                }
                Err(error) => match retry.after_end(error).await {
                    Ok(()) => {}
                    // Nothing was committed by this statement; by the one before, that is not known.
                    Err(error) if in_doubt => {
                        let error = bmdb_model::Error::connection_lost(error.to_string());
                        return Err(self.not_ended(TxError::CommitUnknown(error)));
                    }
                    Err(error) => return Err(self.not_ended(error)),
                },
            }
        }
    }

    async fn end_once(&self, end: &AttemptEnd, retry: &Retry) -> Result<EndOutcome, TxError> {
        let component = &self.session.component;
        let session = self.attempt.session;
        // A machine about which nothing is written is planned by the transaction that has it locked.
        let waiting = match end.writes() {
            Some(writes) if !writes.is_empty() => Waiting::ForMachines,
            _ => Waiting::ForItems,
        };
        let end_once = async |conn: &mut Checkout| {
            let one = [(&self.attempt, end)];
            let (database, counts) = (&component.database, &component.attempt_counts);
            Ok(end_all(database, conn, counts, session, waiting, &one).await?)
        };
        let outcomes = component.database.run_for(retry, end_once).await?;
        Ok(outcomes.first().copied().unwrap_or(EndOutcome::Lost))
    }

    /// Concludes after more than one statement: if the last one did not end the attempt, an earlier one,
    /// whose answer was lost, may have.
    async fn conclude_in_doubt(
        self,
        end: &AttemptEnd,
        outcome: EndOutcome,
        retry: &mut Retry,
    ) -> Result<Option<Rest>, EndError> {
        match outcome {
            EndOutcome::Ended(_) => return self.conclude(end, outcome),
            // The session is lost even if an earlier statement has ended the attempt.
            EndOutcome::SessionExpired => drop(self.session.expired()),
            EndOutcome::Lost | EndOutcome::Busy => {}
        }
        match self.look_up(retry).await {
            AttemptState::Ended(found, rest) => match self.found(end, found, rest) {
                found @ EndOutcome::Ended(_) => self.conclude(end, found),
                _ => self.conclude(end, outcome),
            },
            AttemptState::Claimed => self.conclude(end, outcome),
            AttemptState::Unknown => {
                let unknown = "it ended, and by which statement could not be found out";
                let error = bmdb_model::Error::connection_lost(unknown.to_owned());
                Err(self.lost(TxError::CommitUnknown(error)))
            }
        }
    }

    /// Looks up, by the fence, what became of an end whose answer was lost. [`AttemptState::Unknown`]
    /// also if the database does not say so in time.
    pub(super) async fn look_up(&self, retry: &mut Retry) -> AttemptState {
        loop {
            match self.look_up_once(retry).await {
                Ok(state) => return state,
                Err(error) if error.may_pass() && retry.pause().await => {}
                Err(_) => return AttemptState::Unknown,
            }
        }
    }

    async fn look_up_once(&self, retry: &Retry) -> Result<AttemptState, TxError> {
        let database = &self.session.component.database;
        let look_up =
            async |conn: &mut Checkout| Ok(work::attempt_state(conn, &self.attempt).await?);
        database.run_for(retry, look_up).await
    }

    /// What it means for this end that the attempt was found to have ended. Another end than this one was
    /// made by a janitor, because the session has expired, by closing the session, or by an operator.
    pub(super) fn found(
        &self,
        end: &AttemptEnd,
        outcome: Outcome,
        rest: Option<Rest>,
    ) -> EndOutcome {
        if outcome == end.outcome() {
            let counts = &self.session.component.attempt_counts;
            EndOutcome::ended(counts, &self.attempt.process, outcome, rest)
        } else if outcome == Outcome::Expired || self.session.is_lost() {
            EndOutcome::SessionExpired
        } else {
            EndOutcome::Lost
        }
    }

    pub(super) fn conclude(
        self,
        end: &AttemptEnd,
        outcome: EndOutcome,
    ) -> Result<Option<Rest>, EndError> {
        match outcome {
            EndOutcome::Ended(rest) => {
                self.close(end.outcome(), rest.and_then(|rest| rest.cause));
                Ok(rest)
            }
            EndOutcome::SessionExpired => {
                let reason = self.session.expired();
                Err(self.lost(reason))
            }
            // An end alone waits, so the machine is busy for it only if it was deleted.
            EndOutcome::Lost | EndOutcome::Busy => Err(self.lost(TxError::WorkLost)),
        }
    }

    /// The attempt is not this session's any more.
    pub(super) fn lost(self, reason: TxError) -> EndError {
        self.lose();
        EndError {
            reason,
            attempt: None,
        }
    }

    /// The attempt has not ended, or that is not known. It is not returned after the lease is lost: no
    /// later end could change anything, because a janitor frees the machine or has freed it.
    pub(super) fn not_ended(self, reason: TxError) -> EndError {
        let is_lost = self.session.is_lost();
        EndError {
            reason,
            attempt: (!is_lost).then(|| Box::new(self)),
        }
    }
}

pub(super) fn recorded(
    interval: Seconds,
    ended: Result<Option<Rest>, EndError>,
) -> Result<FailureRecorded, EndError> {
    // A failure that was looked up has no backoff if an operator has cleared it since.
    let rest = ended?.ok_or(EndError {
        reason: TxError::WorkLost,
        attempt: None,
    })?;
    Ok(FailureRecorded {
        interval,
        until: rest.until,
    })
}
