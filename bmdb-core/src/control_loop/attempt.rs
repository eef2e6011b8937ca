//! One machine's turn: processed until it is done, or has to stop; then ended.

use super::ControlLoop;
use super::commit::Commit;
use super::conclude::conclude;
use super::event::{Event, Outcome};
use super::failure::Failure;
use super::machine::Machine;
use super::options::LoopOptions;
use crate::work::Work;
use futures_util::FutureExt;
use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The longest grace of a machine whose lease is lost: less than the shortest loss delay that is the
/// default, after which the machine may be claimed by others.
const GRACE_WHEN_LOST: Duration = Duration::from_secs(10);

/// A machine that is being worked on.
pub(super) struct Attempt<L> {
    pub(super) control: Arc<L>,
    pub(super) options: Arc<LoopOptions>,
    /// The loop has to leave, and cannot wait any longer.
    pub(super) hurry: CancellationToken,
    pub(super) work: Work,
    pub(super) machine: Machine,
}

/// What came of it.
pub(super) struct Done {
    pub(super) outcome: Outcome,
    /// What came to no verdict, and is to be given back, but not to be claimed again at once.
    pub(super) undecided: Option<Work>,
}

/// What processing a machine came to.
pub(super) enum Processed {
    Achieved(Commit),
    Failed(Failure),
    /// The lease is lost.
    Lost,
}

/// Why a machine may not be processed any longer.
enum Stopped {
    Lost,
    Hurried,
    TimeUp(Duration),
}

impl<L: ControlLoop> Attempt<L> {
    pub(super) async fn run(self) -> Done {
        let began = Instant::now();
        let (control, machine) = (&*self.control, &self.machine);
        control.on_event(&Event::Started {
            work: &self.work,
            machine,
        });
        let fence = self.work.fence();
        let processed = self.process().await;
        let (outcome, undecided) = conclude(self.work, processed, &control.backoff()).await;
        control.on_event(&Event::Ended {
            machine,
            fence,
            outcome: &outcome,
            took: began.elapsed(),
        });
        Done { outcome, undecided }
    }

    /// The future is dropped before the work is ended.
    async fn process(&self) -> Processed {
        let processing = async { self.control.process(&self.work, &self.machine).await };
        // Whatever it leaves half done is its own: the runner shares nothing with it but the work, which
        // has no state that a panic could spoil.
        let mut processing = pin!(AssertUnwindSafe(processing).catch_unwind());
        let stopped = tokio::select! {
            biased;
            processed = &mut processing => return settled(processed),
            () = self.work.lost() => Stopped::Lost,
            () = self.hurry.cancelled() => Stopped::Hurried,
            limit = time_up(self.options.timeout) => Stopped::TimeUp(limit),
        };
        self.machine.stop().cancel();
        // Without the lease somebody else may soon act on the machine.
        let lost = async {
            self.work.lost().await;
            tokio::time::sleep(GRACE_WHEN_LOST).await;
        };
        let last = tokio::select! {
            biased;
            processed = &mut processing => Ok(processed),
            () = tokio::time::sleep(self.options.grace) => Err(()),
            () = lost => Err(()),
        };
        match stopped {
            Stopped::Lost => Processed::Lost,
            Stopped::TimeUp(limit) => {
                Processed::Failed(Failure::new(format!("timed out after {limit:?}")))
            }
            Stopped::Hurried => {
                last.map_or_else(|()| Processed::Failed(Failure::cancel()), settled)
            }
        }
    }
}

async fn time_up(limit: Option<Duration>) -> Duration {
    match limit {
        None => std::future::pending().await,
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
    }
}

fn settled(processed: Result<Result<Commit, Failure>, Box<dyn Any + Send>>) -> Processed {
    match processed {
        Ok(Ok(commit)) => Processed::Achieved(commit),
        Ok(Err(failure)) => Processed::Failed(failure),
        Err(panic) => {
            let message = panic
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| panic.downcast_ref::<String>().map(String::as_str));
            let message = message.unwrap_or("without a message");
            Processed::Failed(Failure::new(format!("panicked: {message}")))
        }
    }
}
