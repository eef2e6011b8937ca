//! Grouped ends: works of a session that end while another end is on its way to the database end
//! together in the next statement, as a database does with commits. Nobody waits for company: an end
//! that is alone goes at once.
//!
//! What fails, fails for all of a statement's works, and none of them may pay for another's bad
//! cause. So after a failure each is told to end alone.

use crate::db::database::Database;
use crate::db::deadline::Deadline;
use crate::lock::lock;
use crate::session::close::ENDS_PER_STATEMENT;
use crate::session::lease::Lease;
use crate::telemetry::attempt_counts::AttemptCounts;
use bmdb_model::history::Outcome;
use bmdb_model::work::{self, Attempt, Ended, FailedAttempt, Release};
use bmdb_model::{Failure, SessionId};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::oneshot;

/// How an attempt ends.
#[derive(Debug, Clone)]
pub(crate) enum End {
    Failed {
        delay_seconds: u32,
        interval_seconds: u32,
        cause: String,
        fold: bool,
    },
    Released(Release),
}

/// What came of an end within a group; of a failure also when its backoff ends.
pub(crate) type Verdict = Ended<Option<DateTime<Utc>>>;

/// There was no verdict: the work has to end alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Alone {
    /// How the connection was lost, where the statement may have taken effect all the same.
    pub(crate) in_doubt: Option<String>,
}

/// Where the verdict arrives; closed without one where the runtime shuts down.
pub(crate) type Awaited = oneshot::Receiver<Result<Verdict, Alone>>;

#[derive(Debug)]
struct Waiting {
    attempt: Attempt,
    end: End,
    answer: oneshot::Sender<Result<Verdict, Alone>>,
}

/// The ends of a session's works.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// At most one for each work that the session has claimed and not ended: an end takes its work
    /// along. They leave with their statement, which is given up when the lease is lost.
    waiting: Vec<Waiting>,
    /// Whether a task takes from it.
    is_served: bool,
}

impl End {
    pub(crate) fn outcome(&self) -> Outcome {
        match self {
            Self::Failed { .. } => Outcome::Failed,
            Self::Released(Release::Finished) => Outcome::Finished,
            Self::Released(Release::Canceled) => Outcome::Canceled,
        }
    }
}

/// Ends attempts of one session in one statement; their verdicts come in the order given. All of them
/// have failed, or none.
pub(crate) async fn end_all(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    ends: &[(&Attempt, &End)],
) -> Result<Vec<Verdict>, bmdb_model::Error> {
    let mut failures: Vec<(&Attempt, FailedAttempt<'_>)> = Vec::new();
    let mut releases: Vec<(&Attempt, Release)> = Vec::new();
    for (attempt, end) in ends {
        match end {
            End::Released(release) => releases.push((attempt, *release)),
            End::Failed {
                delay_seconds,
                interval_seconds,
                cause,
                fold,
            } => failures.push((
                attempt,
                FailedAttempt {
                    delay_seconds: *delay_seconds,
                    interval_seconds: *interval_seconds,
                    cause,
                    fold: *fold,
                },
            )),
        }
    }
    if failures.is_empty() {
        let ended = work::release_all(conn, session, &releases).await?;
        Ok(ended.into_iter().map(|e| e.map(|()| None)).collect())
    } else {
        let ended = work::fail_all(conn, session, &failures).await?;
        Ok(ended.into_iter().map(|e| e.map(Some)).collect())
    }
}

impl Ends {
    /// Sends these ends on their way, in one statement of each kind as far as it has room; their
    /// verdicts come in the order given. It makes no difference to them whether anybody waits.
    pub(crate) fn begin(
        self: &Arc<Self>,
        database: &Database,
        lease: &Arc<Lease>,
        attempt_counts: &Arc<AttemptCounts>,
        ends: impl IntoIterator<Item = (Attempt, End)>,
    ) -> Vec<Awaited> {
        let mut queue = self.lock();
        let mut awaited = Vec::new();
        for (attempt, end) in ends {
            let (answer, receiver) = oneshot::channel();
            awaited.push(receiver);
            queue.waiting.push(Waiting {
                attempt,
                end,
                answer,
            });
        }
        let is_neglected = !queue.is_served && !queue.waiting.is_empty();
        queue.is_served |= is_neglected;
        // A runtime that is shutting down drops the task here and now, and its drop takes the lock.
        drop(queue);
        if is_neglected {
            let served = Served {
                ends: self.clone(),
                attempt_counts: attempt_counts.clone(),
                is_done: false,
            };
            let deadline = database.session_deadline(lease.clone());
            tokio::spawn(served.serve(database.clone(), lease.session, deadline));
        }
        awaited
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }
}

/// The task that takes from a queue. When it ends before its time, as when the runtime shuts down,
/// whoever waits is told so by the drop of the answer's sender.
struct Served {
    ends: Arc<Ends>,
    attempt_counts: Arc<AttemptCounts>,
    is_done: bool,
}

impl Drop for Served {
    fn drop(&mut self) {
        if !self.is_done {
            let mut queue = self.ends.lock();
            queue.is_served = false;
            queue.waiting.clear();
        }
    }
}

impl Served {
    /// Whoever waits is told something a moment after the lease is lost: all groups share a deadline.
    async fn serve(mut self, database: Database, session: SessionId, deadline: Deadline) {
        // Works that were claimed together tend to end together: whoever is ready to run may add its
        // own before the first statement is made. Nobody is waited for.
        tokio::task::yield_now().await;
        loop {
            let group: Vec<Waiting> = {
                let mut queue = self.ends.lock();
                let length = queue.waiting.len().min(ENDS_PER_STATEMENT);
                if length == 0 {
                    // Under the lock, or an end that comes now would wait for ever. Another task may
                    // serve the queue from here on.
                    queue.is_served = false;
                    self.is_done = true;
                    return;
                }
                queue.waiting.drain(..length).collect()
            };
            let (failed, released): (Vec<Waiting>, Vec<Waiting>) = group
                .into_iter()
                .partition(|waiting| matches!(waiting.end, End::Failed { .. }));
            for group in [failed, released] {
                if !group.is_empty() {
                    let verdicts = end(&database, &deadline, session, &group).await;
                    tell(group, verdicts, &self.attempt_counts);
                }
            }
        }
    }
}

/// Ends works of one kind in one statement, over a connection of the pool.
async fn end(
    database: &Database,
    deadline: &Deadline,
    session: SessionId,
    group: &[Waiting],
) -> Result<Vec<Verdict>, Alone> {
    let Ok(mut conn) = database.checkout(deadline).await else {
        return Err(Alone { in_doubt: None });
    };
    let ends: Vec<(&Attempt, &End)> = group.iter().map(|w| (&w.attempt, &w.end)).collect();
    let ended = deadline.answer(end_all(&mut conn, session, &ends));
    match ended.await {
        Ok(verdicts) => {
            conn.give_back();
            Ok(verdicts)
        }
        Err(error) => {
            let is_lost = error.failure() == Failure::ConnectionLost;
            let in_doubt = is_lost.then(|| error.to_string());
            conn.give_back_after(&error.into());
            Err(Alone { in_doubt })
        }
    }
}

fn tell(
    group: Vec<Waiting>,
    verdicts: Result<Vec<Verdict>, Alone>,
    attempt_counts: &AttemptCounts,
) {
    let verdicts: Vec<Result<Verdict, Alone>> = match verdicts {
        Ok(verdicts) => verdicts.into_iter().map(Ok).collect(),
        Err(alone) => vec![Err(alone); group.len()],
    };
    for (waiting, verdict) in group.into_iter().zip(verdicts) {
        if let Ok(Ended::Done(_)) = verdict {
            attempt_counts.ended(&waiting.attempt.process, waiting.end.outcome());
        }
        // Whoever has dropped its work is not waiting any more.
        let _ = waiting.answer.send(verdict);
    }
}
