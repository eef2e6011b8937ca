//! Attempt: processes one claimed machine until it is done or has to stop, then ends the work.

use super::ControlLoop;
use super::commit::Commit;
use super::event::{Event, Outcome};
use super::failure::{Effect, Failure};
use super::machine::Machine;
use super::options::LoopOptions;
use super::pause_watch::Stoppable;
use crate::db::retry::Delays;
use crate::db::tx::Tx;
use crate::error::TxError;
use crate::work::Work;
use crate::work::end_error::EndError;
use bmdb_backoff::Backoff;
use bmdb_model::ErrorKind;
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The longest grace period after the lease is lost, whenever that is noticed: shorter than the shortest
/// default delay after which others may claim the machine.
const GRACE_WHEN_LOST: Duration = Duration::from_secs(10);

/// Delays between tries to record an end; each of them has retried for a while itself.
const FIRST_DELAY: Duration = Duration::from_millis(50);
const LONGEST_DELAY: Duration = Duration::from_secs(1);

/// For how long an end with statements of the caller's is tried again after an error that they may cause
/// themselves, such as a misspelt column.
const REPAIR: Duration = Duration::from_secs(60);

/// One claimed machine, and everything that processing it needs.
pub(super) struct Attempt<L> {
    pub(super) control: Arc<L>,
    pub(super) options: Arc<LoopOptions>,
    /// Canceled when the loop stops and cannot wait any longer, or when a pause stops the attempt.
    pub(super) cancel_now: CancellationToken,
    /// Canceled when the loop shuts down.
    pub(super) draining: CancellationToken,
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
    pub(super) async fn run(self) -> Outcome {
        let began = Instant::now();
        let control = self.control.clone();
        control.on_event(&Event::Started {
            work: &self.work,
            machine: &self.machine,
        });
        let fence = self.work.fence();
        let processed = self.process().await;
        let backoff = control.backoff();
        // A loop that shuts down claims no more, and others may try the machine at once.
        let rest = (!self.draining.is_cancelled()).then_some(self.options.cancel_pause);
        let machine = self.machine;
        let outcome = match processed {
            None => Outcome::Lost,
            Some(Ok(commit)) => finish(self.work, &commit, &backoff, rest).await,
            Some(Err(failure)) => end(self.work, &machine, &backoff, &failure, rest).await,
        };
        control.on_event(&Event::Ended {
            machine: &machine,
            fence,
            outcome: &outcome,
            took: began.elapsed(),
        });
        outcome
    }

    /// `None` when the lease is lost. The future is dropped before the work is ended.
    async fn process(&self) -> Option<Result<Commit, Failure>> {
        let processing = async { self.control.process(&self.work, &self.machine).await };
        // A panic can leave only state of the caller inconsistent: the runner shares nothing with the
        // future but the work, which has no state that a panic could break.
        let mut processing = pin!(AssertUnwindSafe(processing).catch_unwind());
        let reason = tokio::select! {
            biased;
            // First: after a stop of this process, or of the computer, the future must not act once more.
            _ = self.work.lost_at() => StopReason::LeaseLost,
            processed = &mut processing => return Some(unwound(processed)),
            () = self.cancel_now.cancelled() => StopReason::CancelNow,
            limit = timeout(self.options.timeout) => StopReason::Timeout(limit),
        };
        self.machine.stop().cancel();
        // Without the lease, another session may soon act on the machine, or does so already: the period
        // begins with the loss, however late it is noticed.
        let others_may_act = async {
            (self.work.lost_at().await + GRACE_WHEN_LOST)
                .reached()
                .await;
        };
        let late = tokio::select! {
            biased;
            () = others_may_act => None,
            processed = &mut processing => Some(processed),
            () = tokio::time::sleep(self.options.grace) => None,
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

async fn finish(work: Work, commit: &Commit, backoff: &Backoff, rest: Option<Duration>) -> Outcome {
    let until = commit.closure().is_some().then(|| Instant::now() + REPAIR);
    let finished = retry_until(until, work, |work| async move {
        match commit.closure() {
            Some(closure) => {
                let write = async |tx: &mut Tx<'_>| closure.write(tx).await;
                work.finish_judged(write).await
            }
            None => work.complete_judged(commit.writes()).await,
        }
    });
    match finished.await {
        Ok(rest) => Outcome::Finished { rest },
        Err((reason, None)) => not_recorded(reason),
        Err((reason, Some(work))) => {
            let failure = format!("what was achieved could not be committed: {reason}");
            fail(work, backoff, &Failure::new(failure), rest).await
        }
    }
}

/// Ends an attempt that has not finished. `rest` is for how long the machine of a canceled one rests.
async fn end(
    work: Work,
    machine: &Machine,
    backoff: &Backoff,
    failure: &Failure,
    rest: Option<Duration>,
) -> Outcome {
    match failure.effect() {
        Effect::BackOff | Effect::Hold | Effect::HoldProcess => {
            fail(work, backoff, failure, rest).await
        }
        Effect::Cancel => match cancel(work, rest).await {
            Ok(()) => Outcome::Canceled,
            Err(outcome) => outcome,
        },
        // Without a rest, so that another host can take it at once. This loop waits.
        Effect::Host => match cancel(work, None).await {
            Ok(()) => Outcome::HostFailed {
                cause: failure.cause().to_owned(),
            },
            Err(outcome) => outcome,
        },
        Effect::PauseProvider(time) if machine.provided.is_some() => {
            let cause = failure.cause();
            let paused = retry(work, |work| work.pause_provider(time, cause));
            match paused.await {
                Ok(Some(pause)) => Outcome::ProviderPaused {
                    cause: cause.to_owned(),
                    provider: pause.provider,
                    until: pause.until,
                },
                // The machine has lost its provider in the meantime.
                Ok(None) => Outcome::Canceled,
                Err((reason, left)) => give_back(reason, left, rest).await,
            }
        }
        Effect::Snooze(rest) | Effect::PauseProvider(rest) => {
            match retry(work, |work| work.snooze(rest)).await {
                Ok(()) => Outcome::Snoozed { rest },
                Err((reason, left)) => give_back(reason, left, Some(rest)).await,
            }
        }
    }
}

async fn fail(work: Work, backoff: &Backoff, failure: &Failure, rest: Option<Duration>) -> Outcome {
    let backoff = failure.own_backoff().unwrap_or(backoff);
    let (cause, effect) = (failure.cause(), failure.effect());
    let failed = retry(work, |work| async move {
        match effect {
            Effect::Hold => work.fail_and_hold(backoff, cause).await,
            Effect::HoldProcess => work.fail_and_hold_process(backoff, cause).await,
            _ => work.fail(backoff, cause).await,
        }
    });
    match failed.await {
        Ok(failed) => Outcome::Failed {
            cause: cause.to_owned(),
            interval: failed.interval,
            until: failed.until,
            put_on_hold: effect == Effect::Hold,
            process_on_hold: effect == Effect::HoldProcess,
        },
        Err((reason, left)) => give_back(reason, left, rest).await,
    }
}

/// Gives back a machine whose end could not be recorded. Returns the outcome of that end.
async fn give_back(reason: TxError, left: Option<Work>, rest: Option<Duration>) -> Outcome {
    if let Some(work) = left
        && cancel(work, rest).await.is_err()
    {
        tracing::debug!("a machine is released in the background");
    }
    not_recorded(reason)
}

/// Gives a machine back. It rests, so that neither this loop nor another one claims it again at once.
async fn cancel(work: Work, rest: Option<Duration>) -> Result<(), Outcome> {
    let canceled = retry(work, |work| async move {
        match rest {
            Some(rest) => work.cancel_resting(rest).await,
            None => work.cancel().await,
        }
    });
    // Work that is still claimed is dropped, which releases it in the background.
    canceled.await.map_err(|(reason, _)| not_recorded(reason))
}

/// Ends the work, with retries while the error may pass; because an end is keyed on the fence, it takes
/// effect once. Returns the work with the error if it is still claimed.
async fn retry<T, F>(work: Work, end: impl Fn(Work) -> F) -> Result<T, (TxError, Option<Work>)>
where
    F: Future<Output = Result<T, EndError>>,
{
    retry_until(None, work, end).await
}

/// The same, but errors that the caller's statements may cause themselves are waited for only until then.
async fn retry_until<T, F>(
    until: Option<Instant>,
    mut work: Work,
    end: impl Fn(Work) -> F,
) -> Result<T, (TxError, Option<Work>)>
where
    F: Future<Output = Result<T, EndError>>,
{
    let mut delays = Delays::new(FIRST_DELAY, LONGEST_DELAY);
    let mut in_doubt = None;
    let mut failing = None;
    loop {
        let error = match end(work).await {
            Ok(ended) => return Ok(ended),
            Err(error) => error,
        };
        match error.into_parts() {
            (reason, Some(claimed)) if is_worth_waiting(&reason, until) => {
                let kind = Some(reason.kind());
                if failing == kind {
                    tracing::debug!(%reason, "retrying an end");
                } else {
                    tracing::warn!(machine = %claimed.machine(), %reason, "an end is tried again until it is recorded");
                }
                failing = kind;
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

/// Whether an end is tried again for as long as the lease lives: what was achieved must not be lost because
/// a server has a bad moment, or an administrator is just repairing a privilege or a table. After `until`,
/// an error that the statement may cause itself is one that stays.
fn is_worth_waiting(reason: &TxError, until: Option<Instant>) -> bool {
    match reason.kind() {
        Some(
            ErrorKind::Denied
            | ErrorKind::SchemaMismatch
            | ErrorKind::Internal
            | ErrorKind::NotReady
            | ErrorKind::StalePlan,
        ) => until.is_none_or(|until| Instant::now() < until),
        _ => reason.may_pass(),
    }
}

fn not_recorded(reason: TxError) -> Outcome {
    match reason {
        TxError::SessionExpired | TxError::WorkLost => Outcome::Lost,
        reason => Outcome::Unrecorded { reason },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bmdb_model::internal::sqlstate::{self, SqlState};
    use diesel::result::{DatabaseErrorKind, Error as DieselError};

    fn of(code: [u8; 5], text: &str) -> TxError {
        sqlstate::note(SqlState::new(code), text);
        let kind = DatabaseErrorKind::Unknown;
        TxError::from(DieselError::DatabaseError(kind, Box::new(text.to_owned())))
    }

    // A closure that named a missing column kept its machine and its slot for as long as the loop lived.
    #[tokio::test]
    async fn what_a_caller_may_have_misspelt_is_waited_for_only_for_a_while() {
        let passed = Some(Instant::now());
        let ahead = Some(Instant::now() + REPAIR);
        let missing = of(*b"42703", "column \"x\" does not exist");
        let full = of(*b"53100", "could not extend file: no space left on device");
        assert!(is_worth_waiting(&missing, None) && is_worth_waiting(&missing, ahead));
        assert!(!is_worth_waiting(&missing, passed));
        assert!(is_worth_waiting(&full, passed));
    }
}
