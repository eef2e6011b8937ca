//! Chores: what must still be done for works and sessions that nobody holds any more.
//!
//! Nothing may leave a machine locked while its session lives and nobody holds the work, so these
//! are tried until they succeed or the session's lease has run out and the janitor takes over.
//!
//! What is to be done is kept per session, and done for all sessions side by side: one that cannot be
//! helped delays no other for longer than a statement may take. It cannot pile up: a session has
//! at most the works that it holds, and server processes that could not be asked to end; what came
//! together is done in one statement, and goes as a whole when the lease is lost.

mod tidy;

use self::tidy::Tidy;
use crate::db::deadline::Patience;
use crate::db::pool::Pool;
use crate::db::retry::Retry;
use crate::session::claimed_fences::Holdings;
use crate::session::close;
use crate::session::heartbeat::Registry;
use crate::session::lease::{Lease, SessionState};
use crate::telemetry::attempt_counts::Tally;
use crate::work::in_flight::{InProgress, Progress};
use bmdb_model::SessionId;
use bmdb_model::internal::connection::Backend;
use bmdb_model::internal::work::Attempt;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::Instant;

/// How long a chore waits for a lock, before it lets others go first.
pub(crate) const LOCK_LIMIT: Duration = Duration::from_secs(1);

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

impl Chore {
    fn lease(&self) -> &Arc<Lease> {
        match self {
            Self::GiveBack(_, holdings) | Self::Sweep(holdings, _) => &holdings.lease,
            Self::Close(lease) => lease,
        }
    }
}

/// What is to be done for one session.
#[derive(Default)]
enum Todo {
    #[default]
    Nothing,
    Tidy(Tidy),
    /// Which gives back everything.
    Close,
}

impl Todo {
    fn add(&mut self, chore: Chore) {
        let holdings = match (&self, &chore) {
            (Self::Close, _) => return,
            (_, Chore::Close(_)) => {
                *self = Self::Close;
                return;
            }
            (_, Chore::GiveBack(_, holdings) | Chore::Sweep(holdings, _)) => holdings.clone(),
        };
        if let Self::Nothing = self {
            *self = Self::Tidy(Tidy::of(holdings));
        }
        if let Self::Tidy(tidy) = self {
            match chore {
                Chore::GiveBack(attempt, _) => tidy.dropped.push(attempt),
                Chore::Sweep(_, backend) => tidy.suspects.push(backend),
                Chore::Close(_) => {}
            }
        }
    }
}

/// The chores of a component.
pub(crate) struct Chores {
    doing: Arc<Doing>,
    /// Works are dropped anywhere, also where no runtime is entered.
    runtime: Handle,
}

/// What the tasks share that do the chores. They end when nothing is left to do, so what was added by
/// the last owner is still done.
struct Doing {
    pool: Pool,
    registry: Arc<Registry>,
    tally: Arc<Tally>,
    progress: Progress,
    /// Those that a task is at work for.
    sessions: Mutex<HashMap<SessionId, Todo>>,
}

impl Chores {
    /// Chores that are done over the connections of this pool, in the current runtime.
    pub(crate) fn new(pool: Pool, registry: Arc<Registry>, tally: Arc<Tally>) -> Self {
        Self {
            doing: Arc::new(Doing {
                pool,
                registry,
                tally,
                progress: Progress::new(),
                sessions: Mutex::default(),
            }),
            runtime: Handle::current(),
        }
    }

    pub(crate) fn add(&self, chore: Chore) {
        let lease = chore.lease().clone();
        let is_neglected = {
            let mut sessions = self.doing.sessions();
            let entry = sessions.entry(lease.session);
            let is_neglected = matches!(entry, Entry::Vacant(_));
            entry.or_default().add(chore);
            is_neglected
        };
        if is_neglected {
            let in_progress = self.doing.progress.begin();
            // A runtime that is shutting down drops the task here and now; the lease will run out.
            self.runtime
                .spawn(self.doing.clone().serve(lease, in_progress));
        }
    }

    /// Resolves when nothing is left to do.
    pub(crate) async fn idle(&self) {
        self.doing.progress.idle().await;
    }

    pub(crate) fn close_idle_connection(&self) {
        self.doing.pool.close_idle();
    }
}

impl Doing {
    /// Does what there is to do for a session, until nothing is left.
    async fn serve(self: Arc<Self>, lease: Arc<Lease>, _in_progress: InProgress) {
        let mut retry = self.retry(&lease);
        loop {
            let is_done = match self.take(lease.session) {
                None => return,
                Some(Todo::Nothing) => true,
                Some(Todo::Tidy(mut tidy)) => {
                    // What a lost session held is given back when it is closed, or is the janitor's.
                    lease.state() == SessionState::Lost
                        || tidy.try_to(&self.pool, &self.tally, retry.patience()).await
                        || self.put_back(lease.session, tidy)
                }
                Some(Todo::Close) => self.close(&lease).await,
            };
            if is_done {
                retry = self.retry(&lease);
            } else {
                tokio::time::sleep(retry.next_delay()).await;
            }
        }
    }

    /// Whether there is no more to do for it.
    async fn close(&self, lease: &Arc<Lease>) -> bool {
        if lease.is_closed() {
            return true;
        }
        let closed = close::close(&self.pool, lease, &self.registry, &self.tally).await;
        if let Err(error) = closed {
            tracing::debug!(session = %lease.session, %error, "not closed yet");
        }
        let is_over = lease.is_closed() || Instant::now() > lease.trusted_until();
        if !is_over {
            self.todo(lease.session, |todo| *todo = Todo::Close);
        }
        is_over
    }

    /// Not done: what is left of it comes before what has come meanwhile. False, for its caller.
    fn put_back(&self, session: SessionId, left: Tidy) -> bool {
        self.todo(session, |todo| match todo {
            Todo::Close => {}
            Todo::Nothing => *todo = Todo::Tidy(left),
            Todo::Tidy(tidy) => tidy.put_before(left),
        });
        false
    }

    fn retry(&self, lease: &Arc<Lease>) -> Retry {
        let patience = Patience::of_session(&self.pool, lease.clone());
        Retry::new(lease.terms.interval(), patience)
    }

    /// What there is to do, as a whole; `None`, and nobody is at work for the session, when there is
    /// nothing.
    fn take(&self, session: SessionId) -> Option<Todo> {
        let mut sessions = self.sessions();
        match sessions.get_mut(&session).map(std::mem::take) {
            None | Some(Todo::Nothing) => {
                sessions.remove(&session);
                None
            }
            todo => todo,
        }
    }

    fn todo(&self, session: SessionId, change: impl FnOnce(&mut Todo)) {
        change(self.sessions().entry(session).or_default());
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<SessionId, Todo>> {
        // Nothing panics while it is held.
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
