//! Poll: a claim in a task, which continues when the future that waits for it is dropped.
//!
//! In a `tokio::select!` futures are dropped all the time, and a dropped claim is costly: its effect is
//! unknown, so its connection is closed and the session's claimed fences are searched. Instead, the
//! answer is kept for the next caller for a moment; then its machines are released.

use crate::error::TxError;
use crate::lock::lock;
use crate::work::claim::{Answer, Claim, Scan};
use crate::work::inner::SessionInner;
use bmdb_model::internal::work::QueueHead;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// How long an answer is kept. A caller that took another branch of a `select!` and has not come back by
/// then is busy with something that the machines must not wait for.
const PICK_UP_TIMEOUT: Duration = Duration::from_millis(100);

type Answered = Result<Answer, TxError>;

/// A poll that runs, or is answered.
pub(super) struct Poll {
    answered: oneshot::Receiver<()>,
    answer: Arc<Mutex<Option<Answered>>>,
    task: AbortHandle,
}

impl Poll {
    /// Polls queue after queue until it has claimed `limit` machines.
    pub(super) fn start(
        session: Arc<SessionInner>,
        queues: Vec<Claim>,
        limit: u32,
        scan: Scan,
    ) -> Self {
        let (signal, answered) = oneshot::channel();
        let answer = Arc::new(Mutex::new(None));
        let kept = answer.clone();
        let task = tokio::spawn(async move {
            let answer = poll(session, queues, limit, scan).await;
            replace(&kept, Some(answer));
            if signal.send(()).is_ok() {
                tokio::time::sleep(PICK_UP_TIMEOUT).await;
            }
            // Dropping an answer that no caller has picked up releases its machines.
            drop(replace(&kept, None));
        });
        Self {
            answered,
            answer,
            task: task.abort_handle(),
        }
    }

    /// The answer; `None` if it was not picked up in time. Cancellation: nothing is lost.
    pub(super) async fn answer(&mut self) -> Option<Answered> {
        // Fails only when the runtime shuts down.
        drop((&mut self.answered).await);
        replace(&self.answer, None)
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // A running poll continues, and finds that its answer has no receiver.
        if replace(&self.answer, None).is_some() || self.answered.is_terminated() {
            self.task.abort();
        }
    }
}

fn replace(kept: &Mutex<Option<Answered>>, answer: Option<Answered>) -> Option<Answered> {
    std::mem::replace(&mut *lock(kept), answer)
}

async fn poll(session: Arc<SessionInner>, queues: Vec<Claim>, limit: u32, scan: Scan) -> Answered {
    let mut all = Answer {
        machines: Vec::new(),
        head: None,
        scan: Scan::WholeQueue,
        has_replanned: false,
        is_due_left: false,
    };
    for claim in queues {
        let got = u32::try_from(all.machines.len()).unwrap_or(u32::MAX);
        let missing = limit.saturating_sub(got);
        if missing == 0 {
            break;
        }
        match poll_queue(&session, claim.limit(missing), scan).await {
            Ok(answer) => {
                all.machines.extend(answer.machines);
                all.head = earlier(all.head, answer.head);
                all.has_replanned |= answer.has_replanned;
                all.is_due_left |= answer.is_due_left;
                if answer.scan == Scan::FromCursor {
                    all.scan = answer.scan;
                }
            }
            Err(error) if all.machines.is_empty() => return Err(error),
            // The earlier claims are committed, so they are returned.
            Err(error) => {
                tracing::debug!(%error, "a poll ends before its last queues");
                break;
            }
        }
    }
    Ok(all)
}

async fn poll_queue(session: &Arc<SessionInner>, claim: Claim, scan: Scan) -> Answered {
    let mut answer = session.claim(&claim, scan).await?;
    if answer.machines.is_empty() && answer.head.is_none() {
        let head = session.head(&claim).await?;
        answer.is_due_left = head == QueueHead::Due;
        answer.head = Some(head);
    }
    Ok(answer)
}

/// Of the heads of two queues without a claim, the one that decides when to poll again.
fn earlier(one: Option<QueueHead>, other: Option<QueueHead>) -> Option<QueueHead> {
    match (one, other) {
        (Some(QueueHead::DueIn(one)), Some(QueueHead::DueIn(other))) => {
            Some(QueueHead::DueIn(one.min(other)))
        }
        (head @ Some(QueueHead::DueIn(_)), _) | (_, head) => head,
    }
}

#[cfg(test)]
mod tests {
    use super::{QueueHead, earlier};
    use std::time::Duration;

    #[test]
    fn the_earliest_due_time_decides_when_to_poll_again() {
        let due_in = |seconds| Some(QueueHead::DueIn(Duration::from_secs(seconds)));
        for other in [
            None,
            Some(QueueHead::Empty),
            Some(QueueHead::Due),
            due_in(5),
        ] {
            assert_eq!(earlier(due_in(4), other), due_in(4));
            assert_eq!(earlier(other, due_in(4)), due_in(4));
        }
        assert_eq!(
            earlier(None, Some(QueueHead::Empty)),
            Some(QueueHead::Empty)
        );
    }
}
