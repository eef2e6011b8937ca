//! A poll on its way, which goes on when the future that waits for it is dropped.
//!
//! In a `tokio::select!` that happens all the time, and a claim that is dropped is costly: nobody knows
//! what it did, so its connection is closed and the session's holdings are searched. The answer is
//! therefore kept for whoever asks next, for a moment, and then given back.

use crate::error::TxError;
use crate::lock::lock;
use crate::work::claim::{Answer, Claim, Scan};
use crate::work::inner::SessionInner;
use bmdb_model::work::QueueHead;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// How long an answer is kept. The branch of a `select!` that was taken instead is done by then, or
/// busy with something that machines must not wait for.
const KEPT: Duration = Duration::from_millis(100);

type Answered = Result<Answer, TxError>;

/// A poll on its way, or answered.
pub(super) struct Poll {
    answered: oneshot::Receiver<()>,
    answer: Arc<Mutex<Option<Answered>>>,
    task: AbortHandle,
}

impl Poll {
    /// Polls queue after queue, until it has got up to `limit` machines.
    pub(super) fn begin(
        session: Arc<SessionInner>,
        queues: Vec<Claim>,
        limit: u32,
        scan: Scan,
    ) -> Self {
        let (tell, answered) = oneshot::channel();
        let answer = Arc::new(Mutex::new(None));
        let kept = answer.clone();
        let task = tokio::spawn(async move {
            let answer = poll(session, queues, limit, scan).await;
            put(&kept, Some(answer));
            if tell.send(()).is_ok() {
                tokio::time::sleep(KEPT).await;
            }
            // Works that nobody came for are given back by their drop.
            drop(put(&kept, None));
        });
        Self {
            answered,
            answer,
            task: task.abort_handle(),
        }
    }

    /// The answer; `None` when it was waited for too late. Dropping the future changes nothing.
    pub(super) async fn answer(&mut self) -> Option<Answered> {
        // Fails only when the runtime shuts down.
        drop((&mut self.answered).await);
        put(&self.answer, None)
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // An unfinished poll finds out by itself that nobody waits.
        if put(&self.answer, None).is_some() || self.answered.is_terminated() {
            self.task.abort();
        }
    }
}

/// Sets what is kept, and returns what was.
fn put(kept: &Mutex<Option<Answered>>, answer: Option<Answered>) -> Option<Answered> {
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
                    all.scan = Scan::FromCursor;
                }
            }
            Err(error) if all.machines.is_empty() => return Err(error),
            // What was claimed is committed and wants to be worked on.
            Err(error) => {
                tracing::debug!(%error, "a poll ends with its earlier queues");
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

/// Of two heads that nothing was claimed of, the one that says when to look again.
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
    fn the_earliest_time_ahead_says_when_to_look_again() {
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
