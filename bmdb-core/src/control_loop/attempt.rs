//! Attempt: processes one claimed machine until it is done or has to stop, then ends the work.

use super::ControlLoop;
use super::commit::Commit;
use super::event::{Event, Outcome};
use super::failure::Failure;
use super::machine::Machine;
use super::options::LoopOptions;
use super::pause_watch::Stoppable;
use crate::db::retry::Delays;
use crate::db::tx::Tx;
use crate::error::TxError;
use crate::work::Work;
use crate::work::end_error::EndError;
use bmdb_backoff::Backoff;
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The longest grace period after the lease is lost: shorter than the shortest default delay after
/// which others may claim the machine.
const GRACE_WHEN_LOST: Duration = Duration::from_secs(10);

/// Delays between tries to record an end; each of them has retried for a while itself.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// One claimed machine, and everything that processing it needs.
pub(super) struct Attempt<L> {
    pub(super) control: Arc<L>,
    pub(super) options: Arc<LoopOptions>,
    /// Canceled when the loop stops and cannot wait any longer, or when a pause stops the attempt.
    pub(super) cancel_now: CancellationToken,
    /// Lets a pause stop the attempt for as long as it runs.
    pub(super) _stoppable: Stoppable,
    pub(super) work: Work,
    pub(super) machine: Machine,
}

/// Why a machine may not be processed any longer.
enum StopReason {
    LeaseLost,
    CancelNow,
    Timeout(Duration),
}

impl<L: ControlLoop> Attempt<L> {
    /// Returns the work too if it has not ended and is still claimed. The caller gives it back after a
    /// pause, or it would be claimed again at once.
    pub(super) async fn run(self) -> (Outcome, Option<Work>) {
        let began = Instant::now();
        let (control, machine) = (&*self.control, &self.machine);
        control.on_event(&Event::Started {
            work: &self.work,
            machine,
        });
        let fence = self.work.fence();
        let processed = self.process().await;
        let backoff = control.backoff();
        let (outcome, work) = match processed {
            None => (Outcome::Lost, None),
            Some(Ok(commit)) => finish(self.work, &commit, &backoff).await,
            Some(Err(failure)) if failure.is_cancel() => (Outcome::Canceled, Some(self.work)),
            Some(Err(failure)) => fail(self.work, &backoff, &failure).await,
        };
        control.on_event(&Event::Ended {
            machine,
            fence,
            outcome: &outcome,
            took: began.elapsed(),
        });
        (outcome, work)
    }

    /// `None` when the lease is lost. The future is dropped before the work is ended.
    async fn process(&self) -> Option<Result<Commit, Failure>> {
        let processing = async { self.control.process(&self.work, &self.machine).await };
        // A panic can leave only state of the caller inconsistent: the runner shares nothing with the
        // future but the work, which has no state that a panic could break.
        let mut processing = pin!(AssertUnwindSafe(processing).catch_unwind());
        let reason = tokio::select! {
            biased;
            processed = &mut processing => return Some(unwound(processed)),
            () = self.work.lost() => StopReason::LeaseLost,
            () = self.cancel_now.cancelled() => StopReason::CancelNow,
            limit = timeout(self.options.timeout) => StopReason::Timeout(limit),
        };
        self.machine.stop().cancel();
        // Without the lease, another session may soon act on the machine.
        let lost = async {
            self.work.lost().await;
            tokio::time::sleep(GRACE_WHEN_LOST).await;
        };
        let late = tokio::select! {
            biased;
            processed = &mut processing => Some(processed),
            () = tokio::time::sleep(self.options.grace) => None,
            () = lost => None,
        };
        match reason {
            StopReason::LeaseLost => None,
            // Also if the future returns a result during the grace period.
            StopReason::Timeout(limit) => {
                Some(Err(Failure::new(format!("timed out after {limit:?}"))))
            }
            StopReason::CancelNow => Some(late.map_or_else(|| Err(Failure::cancel()), unwound)),
        }
    }
}

async fn timeout(limit: Option<Duration>) -> Duration {
    match limit {
        None => std::future::pending().await,
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
    }
}

/// Makes a failure of a panic.
fn unwound(
    processed: Result<Result<Commit, Failure>, Box<dyn Any + Send>>,
) -> Result<Commit, Failure> {
    processed.unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        let message = message.unwrap_or("without a message");
        Err(Failure::new(format!("panicked: {message}")))
    })
}

async fn finish(work: Work, commit: &Commit, backoff: &Backoff) -> (Outcome, Option<Work>) {
    let finished = retry(work, |work| async move {
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
            let failure = format!("what was achieved could not be committed: {reason}");
            fail(work, backoff, &Failure::new(failure)).await
        }
    }
}

async fn fail(work: Work, backoff: &Backoff, failure: &Failure) -> (Outcome, Option<Work>) {
    let backoff = failure.own_backoff().unwrap_or(backoff);
    let (cause, put_on_hold) = (failure.cause(), failure.puts_on_hold());
    let failed = retry(work, |work| async move {
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

/// Ends the work, with retries while the error may pass; because an end is keyed on the fence, it takes
/// effect once. Returns the work with the error if it is still claimed.
async fn retry<T, F>(mut work: Work, end: impl Fn(Work) -> F) -> Result<T, (TxError, Option<Work>)>
where
    F: Future<Output = Result<T, EndError>>,
{
    let mut delays = Delays::new(FIRST_DELAY, LONGEST_DELAY);
    let mut in_doubt = None;
    loop {
        let error = match end(work).await {
            Ok(ended) => return Ok(ended),
            Err(error) => error,
        };
        match error.into_parts() {
            (reason, Some(claimed)) if reason.may_pass() => {
                tracing::debug!(%reason, "retrying an end");
                work = claimed;
                if matches!(reason, TxError::CommitUnknown(_)) {
                    in_doubt = Some(reason);
                }
                tokio::time::sleep(delays.next()).await;
            }
            // It may be the end before this one that took effect.
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
