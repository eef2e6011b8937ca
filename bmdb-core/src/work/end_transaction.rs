//! End transaction: an attempt ends in one transaction with what its caller writes.

use crate::db::retry::Retry;
use crate::db::transaction::{TxOptions, TxOutcome, TxStart};
use crate::db::tx::Tx;
use crate::db::tx_fn::TxBody;
use crate::error::TxError;
use crate::lock::lock;
use crate::session::attempt_end::{AttemptEnd, random_of, send};
use crate::telemetry;
use crate::work::end_error::EndError;
use crate::work::open_attempt::OpenAttempt;
use bmdb_model::internal::work::{self, Attempt, AttemptState, Ended, Jitter, Rest};
use diesel_async::AsyncPgConnection;
use std::sync::{Arc, Mutex};
use tracing::Instrument;

impl OpenAttempt {
    /// Ends the attempt in a transaction that touches the machine first and runs `body` last. Returns
    /// the backoff or rest too that the end begins.
    pub(super) async fn end_with<T, F>(
        self,
        options: TxOptions,
        end: AttemptEnd,
        body: &F,
    ) -> Result<(T, Option<Rest>), EndError>
    where
        F: TxBody<T>,
        T: Send,
    {
        let mut retry = self.session.retry(options.retry_for);
        let (attempt, end) = (&self.attempt, &end);
        let start = TxStart {
            options,
            touch: Some(attempt.machine),
        };
        // The answer to the end's own statement: an error of the closure may be about another attempt.
        let ended = &Mutex::new(Ended::Done(None));
        let jitter = Jitter::from_random(random_of(attempt));
        let judged = &Arc::new(Mutex::new(None));
        let body = &async |tx: &mut Tx<'_>| {
            let done = end_fenced(tx, attempt, end).await?;
            *lock(ended) = done;
            let rest = match done {
                Ended::Done(rest) => rest,
                Ended::SessionExpired => return Err(TxError::SessionExpired),
                Ended::Lost | Ended::Busy => return Err(TxError::WorkLost),
            };
            if let AttemptEnd::Finished(_) = end {
                tx.judge(attempt.clone(), jitter, judged.clone());
            }
            Ok((body(tx).await?, rest))
        };
        loop {
            let run = self.session.run(start, &mut retry, body);
            let span = telemetry::end(&self.span, end.outcome());
            match run.instrument(span).await {
                Ok(TxOutcome::Committed((value, rest))) => {
                    let rest = rest.or(*lock(judged));
                    let committed = self.found(end, end.outcome(), rest);
                    return self.conclude(end, committed).map(|rest| (value, rest));
                }
                Ok(TxOutcome::Expired) => return Err(self.lost(TxError::SessionExpired)),
                Ok(TxOutcome::CommitUnknown((value, _), error)) => {
                    match self.look_up(&mut retry).await {
                        AttemptState::Ended(outcome, rest) => {
                            let found = self.found(end, outcome, rest);
                            return self.conclude(end, found).map(|rest| (value, rest));
                        }
                        // The look-up has waited for the machine's lock: nothing was committed.
                        AttemptState::Claimed if retry.pause().await => {}
                        AttemptState::Claimed => {
                            let error = retry.deadline().explain(error.into());
                            return Err(self.not_ended(error));
                        }
                        AttemptState::Unknown => {
                            return Err(self.not_ended(TxError::CommitUnknown(error)));
                        }
                    }
                }
                Err(error @ TxError::ClosureEndedTransaction { .. }) => {
                    return Err(Box::pin(self.ended_by_closure(end, &mut retry, error)).await);
                }
                Err(error) => {
                    let ended = *lock(ended);
                    if !matches!(ended, Ended::Done(_)) {
                        return Err(self.lost(error));
                    }
                    if let Err(error) = retry.after_end(error).await {
                        return Err(self.not_ended(error));
                    }
                }
            }
        }
    }
}

impl OpenAttempt {
    /// The closure ended the transaction, and perhaps the attempt with it: if its `COMMIT` did, there is nothing
    /// left to end.
    async fn ended_by_closure(
        self,
        end: &AttemptEnd,
        retry: &mut Retry,
        reason: TxError,
    ) -> EndError {
        let AttemptState::Ended(outcome, rest) = self.look_up(retry).await else {
            return self.not_ended(reason);
        };
        let found = self.found(end, outcome, rest);
        let attempt = None;
        match self.conclude(end, found) {
            Ok(_) => EndError { reason, attempt },
            Err(lost) => lost,
        }
    }
}

/// Ends an attempt in a transaction whose fence check has passed. It has ended, and is to be counted,
/// once that is committed.
async fn end_fenced(
    conn: &mut AsyncPgConnection,
    attempt: &Attempt,
    end: &AttemptEnd,
) -> Result<Ended<Option<Rest>>, bmdb_model::Error> {
    if let AttemptEnd::Finished(_) = end {
        let ended = work::finish_fenced(conn, attempt).await?;
        return Ok(ended.map(|()| None));
    }
    // This statement checks the deadline once more, at READ COMMITTED as it is now: if the session has
    // expired since the fence check, nothing is recorded or committed.
    let ended = send(conn, attempt.session, &[(attempt, end)]).await?;
    Ok(ended.first().copied().unwrap_or(Ended::Lost))
}
