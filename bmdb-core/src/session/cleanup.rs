//! Cleanup: cancels dropped work and unknown claims, and closes dropped sessions, in the background.
//!
//! A machine must not stay locked while its session lives and no caller has the work. So each task is
//! retried until it succeeds or the session's lease has run out; after that, the janitor frees the work.
//!
//! Tasks are kept per session, and the sessions are served concurrently: one that makes no progress delays
//! another for at most the duration of a statement. The tasks of a session are bounded by the machines that it
//! holds and the server processes that could not be terminated. Tasks that arrive at the same time are done in one
//! statement, and all of them are dropped when the lease is lost.

use crate::db::config::HistoryDetail;
use crate::db::database::Database;
use crate::db::deadline::Deadline;
use crate::db::in_flight::{InFlight, InFlightGuard};
use crate::db::retry::Retry;
use crate::error::TxError;
use crate::lock::lock;
use crate::session::attempt_end::{AttemptEnd, Cancellation, MOST, end_all};
use crate::session::claimed_fences::ClaimedFences;
use crate::session::close;
use crate::session::heartbeat::Registry;
use crate::session::lease::{Lease, SessionState};
use crate::telemetry::attempt_counts::AttemptCounts;
use bmdb_model::internal::agent;
use bmdb_model::internal::connection::{self, Backend};
use bmdb_model::internal::work::{self, Attempt, Waiting};
use bmdb_model::{ErrorKind, SessionId};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use uuid::Uuid;

/// How long the cleanup waits for a lock before it continues with other tasks.
pub(crate) const LOCK_LIMIT: Duration = Duration::from_secs(1);

/// How long a search for unknown claims may delay new claims.
const SEARCH_LOCK_LIMIT: Duration = Duration::from_millis(100);

/// How many groups, or single attempts, may fail in a row before the session waits for its next try.
const FAILURES: u32 = 3;

/// A task for the background.
pub(crate) enum CleanupTask {
    /// Work was dropped without an end.
    CancelDropped(Attempt, Arc<ClaimedFences>),
    /// The answer to a claim was lost, or its future dropped: it may have claimed machines under fences
    /// that this program does not know. The search begins once the server process that may still claim
    /// has ended.
    FindUnknownClaims(Arc<ClaimedFences>, Backend),
    /// A program listens to agents no more.
    StopListening(Uuid, Arc<ClaimedFences>),
    /// A session was dropped without being closed.
    Close(Arc<Lease>),
}

impl CleanupTask {
    fn lease(&self) -> &Arc<Lease> {
        match self {
            Self::CancelDropped(_, fences)
            | Self::FindUnknownClaims(fences, _)
            | Self::StopListening(_, fences) => &fences.lease,
            Self::Close(lease) => lease,
        }
    }
}

/// The pending tasks of one session.
#[derive(Default)]
enum Pending {
    #[default]
    Nothing,
    Claims(LeftoverClaims),
    /// Closing also cancels all claims.
    Close,
}

impl Pending {
    fn add(&mut self, task: CleanupTask) {
        match task {
            _ if matches!(self, Self::Close) => {}
            CleanupTask::Close(_) => *self = Self::Close,
            CleanupTask::CancelDropped(attempt, fences) => {
                self.claims(fences).dropped.push(attempt)
            }
            CleanupTask::FindUnknownClaims(fences, backend) => {
                self.claims(fences).suspects.push(backend);
            }
            CleanupTask::StopListening(listener, fences) => {
                self.claims(fences).listeners.push(listener);
            }
        }
    }

    fn claims(&mut self, fences: Arc<ClaimedFences>) -> &mut LeftoverClaims {
        if !matches!(self, Self::Claims(_)) {
            *self = Self::Claims(LeftoverClaims::new(fences));
        }
        match self {
            Self::Claims(claims) => claims,
            Self::Nothing | Self::Close => unreachable!("set above"),
        }
    }

    /// Puts claims back that could not be cleaned up, before those that were added since.
    fn put_back(&mut self, mut left: LeftoverClaims) {
        match self {
            Self::Close => return,
            Self::Nothing => {}
            Self::Claims(added) => {
                left.dropped.append(&mut added.dropped);
                left.suspects.append(&mut added.suspects);
                left.listeners.append(&mut added.listeners);
            }
        }
        *self = Self::Claims(left);
    }
}

/// The background cleanup of a component.
pub(crate) struct Cleanup {
    shared: Arc<Shared>,
    /// Work may be dropped outside of any runtime.
    runtime: Handle,
}

/// What the tasks of all sessions share. They outlive the component until nothing is pending, so tasks
/// added by the last owner are still done.
struct Shared {
    database: Database,
    registry: Arc<Registry>,
    attempt_counts: Arc<AttemptCounts>,
    history: HistoryDetail,
    in_flight: InFlight,
    /// The sessions that are being served.
    sessions: Mutex<HashMap<SessionId, Pending>>,
}

impl Cleanup {
    /// Cleans up over the connections of this database, in the current runtime.
    pub(crate) fn new(
        database: Database,
        registry: Arc<Registry>,
        attempt_counts: Arc<AttemptCounts>,
        history: HistoryDetail,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                database,
                registry,
                attempt_counts,
                history,
                in_flight: InFlight::new(),
                sessions: Mutex::default(),
            }),
            runtime: Handle::current(),
        }
    }

    pub(crate) fn add(&self, task: CleanupTask) {
        let lease = task.lease().clone();
        let is_unserved = {
            let mut sessions = lock(&self.shared.sessions);
            let entry = sessions.entry(lease.session);
            let is_unserved = matches!(entry, Entry::Vacant(_));
            entry.or_default().add(task);
            is_unserved
        };
        if is_unserved {
            let in_flight = self.shared.in_flight.begin();
            // A runtime that is shutting down drops the task at once; the lease will run out.
            self.runtime
                .spawn(self.shared.clone().serve(lease, in_flight));
        }
    }

    /// Resolves when nothing is pending.
    pub(crate) async fn idle(&self) {
        self.shared.in_flight.idle().await;
    }

    pub(crate) fn close_idle_connection(&self) {
        self.shared.database.close_idle();
    }
}

impl Shared {
    /// Does the tasks of a session until nothing is pending.
    async fn serve(self: Arc<Self>, lease: Arc<Lease>, _in_flight: InFlightGuard) {
        let mut retry = self.retry(&lease);
        while let Some(pending) = self.take(lease.session) {
            let is_done = match pending {
                Pending::Nothing => true,
                Pending::Close => self.close(&lease).await,
                // Closing cancels the claims of a lost session, or the janitor frees them.
                Pending::Claims(_) if lease.state() == SessionState::Lost => true,
                Pending::Claims(mut claims) => {
                    let is_done = claims.clean_up(&self, retry.deadline()).await;
                    if !is_done {
                        self.change(lease.session, |pending| pending.put_back(claims));
                    }
                    is_done
                }
            };
            if is_done {
                retry = self.retry(&lease);
            } else {
                tokio::time::sleep(retry.next_delay()).await;
            }
        }
    }

    /// Whether the session is closed, or its lease has run out.
    async fn close(&self, lease: &Arc<Lease>) -> bool {
        if lease.is_closed() {
            return true;
        }
        let closed = close::close(
            &self.database,
            lease,
            &self.registry,
            &self.attempt_counts,
            self.history,
        )
        .await;
        if let Err(error) = closed {
            tracing::debug!(session = %lease.session, %error, "not closed yet");
        }
        let is_over = lease.is_closed() || lease.has_run_out();
        if !is_over {
            self.change(lease.session, |pending| *pending = Pending::Close);
        }
        is_over
    }

    fn retry(&self, lease: &Arc<Lease>) -> Retry {
        let deadline = self.database.session_deadline(lease.clone());
        Retry::new(lease.terms.interval(), deadline)
    }

    /// Takes everything that is pending for a session. Without anything, returns `None` and ends the
    /// service of the session.
    fn take(&self, session: SessionId) -> Option<Pending> {
        let mut sessions = lock(&self.sessions);
        match sessions.get_mut(&session).map(std::mem::take) {
            None | Some(Pending::Nothing) => {
                sessions.remove(&session);
                None
            }
            pending => pending,
        }
    }

    fn change(&self, session: SessionId, change: impl FnOnce(&mut Pending)) {
        change(lock(&self.sessions).entry(session).or_default());
    }
}

/// Claims of a live session that no caller will end, and its listeners that listen no more.
struct LeftoverClaims {
    fences: Arc<ClaimedFences>,
    /// Dropped work, and unknown claims that were found. Each of them holds a machine.
    dropped: Vec<Attempt>,
    /// Server processes that may still claim. Processes that are known to have ended are removed, so there
    /// are at most as many as the server has, or as connections broke since it was last reached.
    suspects: Vec<Backend>,
    /// Whether there may be unknown claims.
    may_have_unknown: bool,
    /// Listeners to agents whose rows are to go.
    listeners: Vec<Uuid>,
    /// Whether to cancel attempts one by one after a group failed: one locked row must not keep all of them.
    one_by_one: bool,
}

impl LeftoverClaims {
    fn new(fences: Arc<ClaimedFences>) -> Self {
        Self {
            fences,
            dropped: Vec::new(),
            suspects: Vec::new(),
            may_have_unknown: false,
            listeners: Vec::new(),
            one_by_one: false,
        }
    }

    /// Whether everything is cleaned up; the rest stays in `self`.
    async fn clean_up(&mut self, shared: &Shared, deadline: &Deadline) -> bool {
        self.may_have_unknown |= !self.suspects.is_empty();
        let session = self.fences.lease.session;
        if self.may_have_unknown {
            match self.find_unknown(&shared.database, deadline).await {
                Ok(is_complete) => self.may_have_unknown = !is_complete,
                Err(error) => tracing::debug!(%session, %error, "unknown claims not found yet"),
            }
        }
        if let Err(error) = self.cancel_dropped(shared, deadline).await {
            tracing::debug!(%session, %error, "dropped work not canceled yet");
        }
        if let Err(error) = self.stop_listening(shared, deadline).await {
            tracing::debug!(%session, %error, "listening to agents has not ended yet");
        }
        self.dropped.is_empty() && !self.may_have_unknown && self.listeners.is_empty()
    }

    async fn stop_listening(
        &mut self,
        shared: &Shared,
        deadline: &Deadline,
    ) -> Result<(), TxError> {
        if self.listeners.is_empty() {
            return Ok(());
        }
        let stop = shared.database.run_by(deadline, async |conn| {
            Ok(agent::stop_listening(conn, &self.listeners).await?)
        });
        stop.await?;
        self.listeners.clear();
        Ok(())
    }

    /// Cancels dropped work. Attempts that fail are queued behind the others; returns the last error.
    async fn cancel_dropped(
        &mut self,
        shared: &Shared,
        deadline: &Deadline,
    ) -> Result<(), TxError> {
        let size = if self.one_by_one { 1 } else { MOST };
        self.one_by_one = false;
        let (mut failed, mut failures, mut last) = (Vec::new(), 0, Ok(()));
        while !self.dropped.is_empty() && failures < FAILURES {
            let length = self.dropped.len().min(size);
            let group: Vec<Attempt> = self.dropped.drain(..length).collect();
            match self.cancel(shared, deadline, &group).await {
                Ok(()) => {}
                Err(error) => {
                    let is_unreachable = is_unreachable(&error);
                    failed.extend(group);
                    failures += 1;
                    last = Err(error);
                    if is_unreachable {
                        break;
                    }
                    self.one_by_one = true;
                }
            }
        }
        self.dropped.append(&mut failed);
        last
    }

    /// Cancels attempts in one statement. One that has ended otherwise needs no cancellation.
    async fn cancel(
        &self,
        shared: &Shared,
        deadline: &Deadline,
        group: &[Attempt],
    ) -> Result<(), TxError> {
        let session = self.fences.lease.session;
        let end = AttemptEnd::Canceled(Cancellation {
            fold: shared.history.folds(),
            ..Cancellation::default()
        });
        let ends: Vec<_> = group.iter().map(|a| (a, &end)).collect();
        let ended = shared.database.run_by(deadline, async |conn| {
            let (database, counts) = (&shared.database, &shared.attempt_counts);
            Ok(end_all(database, conn, counts, session, Waiting::ForItems, &ends).await?)
        });
        ended.await?;
        for attempt in group {
            self.fences.forget(attempt.fence);
        }
        Ok(())
    }

    /// Adds unknown claims to the dropped work. Returns whether no further unknown claim is possible.
    async fn find_unknown(
        &mut self,
        database: &Database,
        deadline: &Deadline,
    ) -> Result<bool, TxError> {
        let mut conn = database.checkout(deadline).await?;
        let searched = self.search(&mut conn, deadline).await;
        conn.settle(searched)
    }

    async fn search(
        &mut self,
        conn: &mut diesel_async::AsyncPgConnection,
        deadline: &Deadline,
    ) -> Result<bool, TxError> {
        let mut left = Vec::new();
        for suspect in &self.suspects {
            let gone = deadline.answer(connection::terminate(conn, *suspect));
            if !gone.await? {
                left.push(*suspect);
            }
        }
        self.suspects = left;
        if !self.suspects.is_empty() {
            return Ok(false);
        }
        // Claims of this session that are under way have fences that are not known yet. A retrieval may
        // take long, and new claims queue behind this lock, so the search gives up soon.
        let fences = self.fences.clone();
        let exclusive = tokio::time::timeout(SEARCH_LOCK_LIMIT, fences.claiming.write()).await;
        let Ok(_no_claims) = exclusive else {
            return Ok(false);
        };
        let session = fences.lease.session;
        for attempt in deadline.answer(work::attempts_of(conn, session)).await? {
            if !fences.knows(attempt.fence) {
                tracing::info!(machine = %attempt.machine, fence = %attempt.fence, "canceling an unknown claim");
                fences.remember(attempt.fence);
                self.dropped.push(attempt);
            }
        }
        Ok(true)
    }
}

/// Whether the database cannot be reached or takes no writes, so that no other task can succeed.
fn is_unreachable(error: &TxError) -> bool {
    matches!(error, TxError::Unavailable(_))
        || matches!(
            error.kind(),
            Some(
                ErrorKind::ConnectionLost
                    | ErrorKind::ReadOnly
                    | ErrorKind::OutOfResources
                    | ErrorKind::NotReady
            )
        )
}
