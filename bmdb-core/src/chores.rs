//! Chores: what must still be done for works and sessions that nobody holds any more.
//!
//! Nothing may leave a machine locked while its session lives and nobody holds the work, so these
//! are tried until they succeed or the session's lease has run out and the janitor takes over.

use crate::close;
use crate::error::TxError;
use crate::heartbeat::Registry;
use crate::holdings::Holdings;
use crate::lease::{Lease, SessionState};
use crate::patience::Patience;
use crate::pool::Pool;
use crate::progress::{InProgress, Progress};
use crate::retry::Retry;
use bmdb_model::connection::{self, Backend};
use bmdb_model::work::{self, Attempt};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// How long a search for unknown claims may hold up new ones.
const PATIENCE: Duration = Duration::from_millis(100);

/// Something to be done in the background.
pub(crate) enum Chore {
    /// Work was dropped without an end.
    GiveBack(Attempt, Arc<Holdings>),
    /// A claim's answer was lost, or its future dropped: it may have left items held under fences
    /// that nobody knows. They are looked for once the server process that may still claim is gone.
    Sweep(Arc<Holdings>, Backend),
    /// A session was dropped without being closed.
    Close(Arc<Lease>),
}

/// The queue of chores.
pub(crate) struct Chores {
    queue: mpsc::UnboundedSender<(Chore, InProgress)>,
    progress: Progress,
    pool: Pool,
}

impl Chores {
    /// Starts the task that does the chores, one after the other, on a connection of its own. It ends
    /// when the queue is dropped and empty, so what was queued by the last owner is still done.
    pub(crate) fn start(pool: Pool, registry: Arc<Registry>) -> Self {
        let (queue, mut chores) = mpsc::unbounded_channel();
        let serving = pool.clone();
        tokio::spawn(async move {
            while let Some((chore, _in_progress)) = chores.recv().await {
                do_until_done(&serving, &registry, &chore).await;
            }
        });
        Self {
            queue,
            progress: Progress::new(),
            pool,
        }
    }

    pub(crate) fn add(&self, chore: Chore) {
        // Fails when the runtime is shutting down; the lease will run out.
        drop(self.queue.send((chore, self.progress.begin())));
    }

    /// Resolves when nothing is left to do.
    pub(crate) async fn idle(&self) {
        self.progress.idle().await;
    }

    pub(crate) fn close_idle_connection(&self) {
        self.pool.close_idle();
    }
}

/// Each way to do a chore says whether it is done.
async fn do_until_done(pool: &Pool, registry: &Registry, chore: &Chore) {
    let lease = match chore {
        Chore::GiveBack(_, holdings) | Chore::Sweep(holdings, _) => &holdings.lease,
        Chore::Close(lease) => lease,
    };
    let is_closing = matches!(chore, Chore::Close(_));
    // What a lost session held is given back when it is closed, or is the janitor's.
    if lease.is_closed() || !is_closing && lease.state() == SessionState::Lost {
        return;
    }
    let patience = Patience::of_session(pool, lease.clone());
    let mut retry = Retry::new(lease.terms.interval(), patience);
    loop {
        let done = match chore {
            Chore::GiveBack(attempt, holdings) => give_back(pool, &retry, attempt, holdings).await,
            Chore::Sweep(holdings, backend) => sweep(pool, &retry, holdings, *backend).await,
            Chore::Close(lease) => close::close(pool, lease, registry).await.map(|()| true),
        };
        match done {
            Ok(true) | Err(TxError::SessionExpired) => return,
            Ok(false) => {}
            Err(error) => tracing::debug!(session = %lease.session, %error, "chore not done yet"),
        }
        let is_over = if is_closing {
            Instant::now() > lease.trusted_until()
        } else {
            lease.state() == SessionState::Lost
        };
        if is_over {
            return;
        }
        tokio::time::sleep(retry.next_delay()).await;
    }
}

async fn give_back(
    pool: &Pool,
    retry: &Retry,
    attempt: &Attempt,
    holdings: &Holdings,
) -> Result<bool, TxError> {
    let patience = retry.patience();
    let mut conn = patience.checkout(pool).await?;
    match patience.answer(work::cancel(&mut conn, attempt)).await {
        Ok(_) => {
            conn.give_back();
            holdings.forget(attempt.fence);
            Ok(true)
        }
        Err(error) => {
            let error = error.into();
            conn.give_back_after(&error);
            Err(error)
        }
    }
}

async fn sweep(
    pool: &Pool,
    retry: &Retry,
    holdings: &Holdings,
    suspect: Backend,
) -> Result<bool, TxError> {
    let patience = retry.patience();
    let mut conn = patience.checkout(pool).await?;
    let gone = patience.answer(connection::terminate(&mut conn, suspect));
    if !gone.await? {
        conn.give_back();
        return Ok(false);
    }
    // Claims of this session that are under way have fences that are not known yet. A retrieval may
    // take long, and new claims queue behind this lock, so it is not waited for long.
    let exclusive = tokio::time::timeout(PATIENCE, holdings.claiming.write()).await;
    let Ok(_no_claims) = exclusive else {
        conn.give_back();
        return Ok(false);
    };
    let held = work::held_by(&mut conn, holdings.lease.session);
    for attempt in patience.answer(held).await? {
        if !holdings.knows(attempt.fence) {
            tracing::info!(machine = %attempt.machine, fence = %attempt.fence, "giving back an unknown claim");
            patience.answer(work::cancel(&mut conn, &attempt)).await?;
        }
    }
    conn.give_back();
    Ok(true)
}
