//! Ends that are committed together with other writes, or not at all.

use super::{Settled, Why};
use crate::db::transaction::{TxOptions, TxOutcome, TxStart};
use crate::db::tx::Tx;
use crate::db::tx_fn::TxBody;
use crate::error::TxError;
use crate::lock::lock;
use crate::telemetry;
use crate::work::Work;
use crate::work::end_batcher::{End, Verdict, end_all};
use bmdb_model::work::{self, Attempt, Ended, Release};
use chrono::{DateTime, Utc};
use std::sync::Mutex;
use tracing::Instrument;

impl Work {
    /// Ends the work within a transaction that touches the machine first and runs `body` last; returns
    /// the end of the backoff too, if it made one.
    pub(super) async fn end_within<T, F>(
        &self,
        options: TxOptions,
        end: &End,
        body: &F,
    ) -> Result<(T, Option<DateTime<Utc>>), Why>
    where
        F: TxBody<T>,
        T: Send,
    {
        let (session, attempt) = (self.session(), self.attempt());
        let mut retry = session.retry(options.retry_for);
        let start = TxStart {
            options,
            touch: Some(attempt.machine),
        };
        // What the end itself found, for an error of the closure may be about another work.
        let verdict = &Mutex::new(Ended::Done(None));
        loop {
            let ran = session
                .run(start, &mut retry, &async |tx: &mut Tx<'_>| {
                    let ended = send(tx, attempt, end).await?;
                    *lock(verdict) = ended;
                    let until = recorded(ended)?;
                    Ok((body(tx).await?, until))
                })
                .instrument(telemetry::end(&self.span(), end.outcome().into()))
                .await;
            match ran {
                Ok(TxOutcome::Committed(ended)) => {
                    self.count_end(end.outcome());
                    return Ok(ended);
                }
                Ok(TxOutcome::Expired) => return Err(Why::Gone(TxError::SessionExpired)),
                Ok(TxOutcome::CommitUnknown((value, _), error)) => {
                    match self.settle(end.outcome(), &mut retry).await {
                        Some(Settled::Ended(until)) => return Ok((value, until)),
                        Some(Settled::Gone(reason)) => return Err(Why::Gone(reason)),
                        // Its lock has been waited for: nothing was committed.
                        Some(Settled::Held) if retry.pause().await => {}
                        Some(Settled::Held) => {
                            let error = retry.deadline().explain(error.into());
                            return Err(Why::Failed(error));
                        }
                        None => return Err(Why::Failed(TxError::CommitUnknown(error))),
                    }
                }
                Err(error) => {
                    let ended = *lock(verdict);
                    return Err(match ended {
                        Ended::Done(_) => Why::Failed(error),
                        Ended::SessionExpired | Ended::Lost => Why::Gone(error),
                    });
                }
            }
        }
    }
}

/// The statement of an end in a transaction whose fence check has passed.
async fn send(tx: &mut Tx<'_>, attempt: &Attempt, end: &End) -> Result<Verdict, TxError> {
    if matches!(end, End::Released(Release::Finished)) {
        let ended = work::finish_fenced(tx, attempt).await?;
        return Ok(ended.map(|()| None));
    }
    // These judge the deadline once more, which at READ COMMITTED is as it is now: what has run out
    // since the fence check is not recorded, and nothing else is committed either.
    let verdicts = end_all(tx, attempt.session, &[(attempt, end)]).await?;
    Ok(verdicts.first().copied().unwrap_or(Ended::Lost))
}

fn recorded(ended: Verdict) -> Result<Option<DateTime<Utc>>, TxError> {
    match ended {
        Ended::Done(until) => Ok(until),
        Ended::SessionExpired => Err(TxError::SessionExpired),
        Ended::Lost => Err(TxError::WorkLost),
    }
}
