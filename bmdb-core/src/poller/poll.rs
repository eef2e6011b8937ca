//! A poll on its way, which goes on when the future that waits for it is dropped.
//!
//! In a `tokio::select!` that happens all the time, and a claim that is dropped is costly: nobody knows
//! what it did, so its connection is closed and the session's holdings are searched. The answer is
//! therefore kept for whoever asks next, for a moment, and then given back.

use crate::claim::{Answer, Claim, Reach};
use crate::error::TxError;
use crate::session::SessionInner;
use std::sync::{Arc, Mutex, PoisonError};
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
    pub(super) fn begin(session: Arc<SessionInner>, claim: Claim, reach: Reach) -> Self {
        let (tell, answered) = oneshot::channel();
        let answer = Arc::new(Mutex::new(None));
        let kept = answer.clone();
        let task = tokio::spawn(async move {
            let answer = poll(session, &claim, reach).await;
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
    // Nothing panics while it is held.
    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut kept, answer)
}

async fn poll(session: Arc<SessionInner>, claim: &Claim, reach: Reach) -> Answered {
    let mut answer = session.claim(claim, reach).await?;
    if answer.works.is_empty() && answer.head.is_none() {
        answer.head = Some(session.head(claim).await?);
    }
    Ok(answer)
}
