//! End batcher: attempts of a session that end while another end is on its way to the database end in
//! the next statement, all at once, as a database groups commits: failures in one statement, cancellations
//! in another, finishes in one transaction with their tags and the plan of their machines. A lone end is sent
//! immediately; nothing waits to fill a batch, and a large batch does not wait for another one.
//!
//! A statement that fails, fails for all of its attempts, perhaps because of one bad cause. After that
//! each attempt has to end alone.

use crate::db::database::Database;
use crate::db::deadline::Deadline;
use crate::error::TxError;
use crate::lock::lock;
use crate::session::attempt_end::{AttemptEnd, EndKind, EndOutcome, MOST, end_all};
use crate::session::lease::Lease;
use crate::telemetry::attempt_counts::AttemptCounts;
use bmdb_model::ErrorKind;
use bmdb_model::internal::tag_writes;
use bmdb_model::internal::work::{Attempt, Waiting};
use std::sync::{Arc, Mutex};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

/// So many ends that wait are a batch of their own: they are sent beside the batch that is on its way, over another
/// connection. Fewer wait for it, because sharing a commit is worth more to them.
const CROWD: usize = 50;

/// The most batches of a session that are on their way at the same time.
const MOST_SENDERS: usize = 4;

/// The most bytes of tags in a batch that has more than one end: a report may have a megabyte, and a batch is
/// in memory as a whole.
const MOST_BYTES: usize = 16 << 20;

/// A batch that failed: its ends have to be sent alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchError {
    /// How the connection was lost, if the statement may have taken effect.
    pub(crate) in_doubt: Option<String>,
}

/// Receives the outcome of an end; closed without one when the runtime shuts down.
pub(crate) type PendingEnd = oneshot::Receiver<Result<EndOutcome, BatchError>>;

#[derive(Debug)]
struct QueuedEnd {
    attempt: Attempt,
    end: AttemptEnd,
    answer: oneshot::Sender<Result<EndOutcome, BatchError>>,
}

/// Batches the ends of one session's attempts.
pub(crate) struct EndBatcher {
    database: Database,
    lease: Arc<Lease>,
    counts: Arc<AttemptCounts>,
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// At most one for each attempt of the session that has not ended, because an end consumes its
    /// `Work`. They leave with their statement, which is given up when the lease is lost.
    ends: Vec<QueuedEnd>,
    /// How many tasks take from it.
    senders: usize,
}

impl EndBatcher {
    pub(crate) fn new(
        database: Database,
        lease: Arc<Lease>,
        counts: Arc<AttemptCounts>,
    ) -> Arc<Self> {
        Arc::new(Self {
            database,
            lease,
            counts,
            queue: Mutex::default(),
        })
    }

    /// Sends these ends, in as few statements as possible. The results have the order of the ends. The
    /// ends are sent even if no caller waits for their outcomes.
    pub(crate) fn submit(
        self: &Arc<Self>,
        ends: impl IntoIterator<Item = (Attempt, AttemptEnd)>,
    ) -> Vec<PendingEnd> {
        // Outside of any runtime, each end finds out by itself why it cannot be sent.
        let runtime = Handle::try_current();
        let mut queue = lock(&self.queue);
        let mut pending = Vec::new();
        for (attempt, end) in ends {
            let (answer, receiver) = oneshot::channel();
            pending.push(receiver);
            if runtime.is_err() {
                let _ = answer.send(Err(BatchError { in_doubt: None }));
                continue;
            }
            queue.ends.push(QueuedEnd {
                attempt,
                end,
                answer,
            });
        }
        let needs_task = match queue.senders {
            0 => !queue.ends.is_empty(),
            senders => senders < MOST_SENDERS && queue.ends.len() >= CROWD,
        };
        queue.senders += usize::from(needs_task);
        // A runtime that is shutting down drops the task right here, and its drop takes the lock.
        drop(queue);
        if let Ok(runtime) = runtime
            && needs_task
        {
            let sender = BatchSender {
                batcher: self.clone(),
                is_done: false,
            };
            runtime.spawn(sender.run());
        }
        pending
    }

    /// Sends ends of one kind in one statement or transaction, over a connection of the pool.
    async fn send(
        &self,
        deadline: &Deadline,
        batch: &[QueuedEnd],
    ) -> Result<Vec<EndOutcome>, BatchError> {
        let Ok(mut conn) = self.database.checkout(deadline).await else {
            return Err(BatchError { in_doubt: None });
        };
        let ends: Vec<(&Attempt, &AttemptEnd)> =
            batch.iter().map(|q| (&q.attempt, &q.end)).collect();
        let (database, session) = (&self.database, self.lease.session);
        let ended = end_all(
            database,
            &mut conn,
            &self.counts,
            session,
            Waiting::No,
            &ends,
        );
        let ended = deadline.answer(ended).await.map_err(TxError::from);
        conn.settle(ended).map_err(|error| {
            let is_lost = error.kind() == Some(ErrorKind::ConnectionLost);
            BatchError {
                in_doubt: is_lost.then(|| error.to_string()),
            }
        })
    }
}

/// The task that takes from a queue. When it is dropped early, as when the runtime shuts down, the
/// senders are dropped too, which closes the channels of those who wait.
struct BatchSender {
    batcher: Arc<EndBatcher>,
    is_done: bool,
}

impl Drop for BatchSender {
    fn drop(&mut self) {
        if !self.is_done {
            let mut queue = lock(&self.batcher.queue);
            queue.senders -= 1;
            queue.ends.clear();
        }
    }
}

impl BatchSender {
    /// All batches share a deadline, so each end is answered a moment after the lease is lost at the
    /// latest.
    async fn run(mut self) {
        let batcher = &self.batcher;
        let deadline = batcher.database.session_deadline(batcher.lease.clone());
        // Attempts that were claimed in one batch tend to end at the same time: tasks that are ready to
        // run may add theirs before the first statement is made.
        tokio::task::yield_now().await;
        loop {
            let mut batch: Vec<QueuedEnd> = {
                let mut queue = lock(&self.batcher.queue);
                let length = batch_length(&queue.ends);
                if length == 0 {
                    // Under the lock, or an end that is submitted now would wait for ever. Another task
                    // may serve the queue from here on.
                    queue.senders -= 1;
                    self.is_done = true;
                    return;
                }
                queue.ends.drain(..length).collect()
            };
            for kind in EndKind::ALL {
                let of_kind: Vec<QueuedEnd>;
                (of_kind, batch) = batch.into_iter().partition(|q| q.end.kind() == kind);
                if !of_kind.is_empty() {
                    let outcomes = self.batcher.send(&deadline, &of_kind).await;
                    answer(of_kind, outcomes);
                }
            }
        }
    }
}

/// How many of the ends, which are in the order in which they came, share a batch. A single one does whatever its
/// size is.
fn batch_length(ends: &[QueuedEnd]) -> usize {
    let mut bytes = 0_usize;
    let fits = |queued: &&QueuedEnd| {
        let is_first = bytes == 0;
        bytes = bytes.saturating_add(1 + queued.end.writes().map_or(0, tag_writes::bytes));
        is_first || bytes <= MOST_BYTES
    };
    ends.iter().take(MOST).take_while(fits).count()
}

fn answer(batch: Vec<QueuedEnd>, outcomes: Result<Vec<EndOutcome>, BatchError>) {
    let outcomes: Vec<Result<EndOutcome, BatchError>> = match outcomes {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(error) => vec![Err(error); batch.len()],
    };
    for (queued, outcome) in batch.into_iter().zip(outcomes) {
        // Fails if the caller has dropped its future.
        let _ = queued.answer.send(outcome);
    }
}
