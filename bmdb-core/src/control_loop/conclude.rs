//! Recording how an attempt ended, as long as the lease lasts.

use super::attempt::Processed;
use super::commit::Commit;
use super::event::Outcome;
use super::failure::Verdict;
use crate::db::retry::Delays;
use crate::db::tx::Tx;
use crate::error::TxError;
use crate::work::Work;
use crate::work::end::EndError;
use bmdb_backoff::Backoff;
use std::time::Duration;

/// Between tries; each of them has tried for a while itself.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Ends the work as it deserves; what it comes back with is still claimed, and came to no verdict.
pub(super) async fn conclude(
    work: Work,
    processed: Processed,
    backoff: &Backoff,
) -> (Outcome, Option<Work>) {
    match processed {
        Processed::Lost => (Outcome::Lost, None),
        Processed::Achieved(commit) => finish(work, &commit, backoff).await,
        Processed::Failed(failure) => match failure.verdict() {
            Verdict::Cancel => (Outcome::Canceled, Some(work)),
            verdict => {
                let backoff = failure.own_backoff().unwrap_or(backoff);
                fail(work, backoff, failure.cause(), verdict).await
            }
        },
    }
}

async fn finish(work: Work, commit: &Commit, backoff: &Backoff) -> (Outcome, Option<Work>) {
    let finished = end(work, |work| async move {
        let machine = work.machine();
        if commit.writes() {
            let write = async |tx: &mut Tx<'_>| commit.write(tx, machine).await;
            work.finish(write).await
        } else {
            work.complete().await
        }
    });
    match finished.await {
        Ok(()) => (Outcome::Finished, None),
        Err((reason, None)) => (not_recorded(reason), None),
        Err((reason, Some(work))) => {
            let cause = format!("what was achieved could not be committed: {reason}");
            fail(work, backoff, &cause, Verdict::Rest).await
        }
    }
}

async fn fail(
    work: Work,
    backoff: &Backoff,
    cause: &str,
    verdict: Verdict,
) -> (Outcome, Option<Work>) {
    let put_on_hold = verdict == Verdict::Hold;
    let failed = end(work, |work| async move {
        if put_on_hold {
            work.fail_and_hold(backoff, cause).await
        } else {
            work.fail(backoff, cause).await
        }
    });
    match failed.await {
        Ok(failed) => {
            let outcome = Outcome::Failed {
                cause: cause.to_owned(),
                interval: failed.interval,
                until: failed.until,
                put_on_hold,
            };
            (outcome, None)
        }
        Err((reason, work)) => (not_recorded(reason), work),
    }
}

/// Ends the work, again while that may help: it is keyed on its fence, so it takes effect once. With an
/// error comes the work if it is still claimed.
async fn end<T, F>(mut work: Work, end: impl Fn(Work) -> F) -> Result<T, (TxError, Option<Work>)>
where
    F: Future<Output = Result<T, EndError>>,
{
    let mut delays = Delays::new(FIRST_PAUSE, LONGEST_PAUSE);
    let mut in_doubt = None;
    loop {
        let error = match end(work).await {
            Ok(ended) => return Ok(ended),
            Err(error) => error,
        };
        match error.into_parts() {
            (reason, Some(claimed)) if reason.may_pass() => {
                tracing::debug!(%reason, "an end is tried again");
                work = claimed;
                if matches!(reason, TxError::CommitUnknown(_)) {
                    in_doubt = Some(reason);
                }
                tokio::time::sleep(delays.next()).await;
            }
            // It may have been the end before this one that took it away.
            (reason, None) => return Err((in_doubt.unwrap_or(reason), None)),
            (reason, claimed) => return Err((reason, claimed)),
        }
    }
}

fn not_recorded(reason: TxError) -> Outcome {
    match reason {
        TxError::SessionExpired | TxError::WorkLost => Outcome::Lost,
        reason => Outcome::Unrecorded { reason },
    }
}
