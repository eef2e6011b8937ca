//! Poller: waits for due machines with polls, less and less often, and with wake-ups that come earlier.

mod poll;

use self::poll::Poll;
use crate::db::listener::ListenGuard;
use crate::db::retry::Delays;
use crate::error::TxError;
use crate::work::Work;
use crate::work::claim::{Answer, Claim, Scan};
use crate::work::inner::SessionInner;
use crate::work::poll_options::PollOptions;
use crate::work::queue_cursor::RESET;
use crate::work::rate_limiter::RateLimiter;
use bmdb_model::internal::work::QueueHead;
use bmdb_model::{ErrorKind, Provider};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The pollers that one event wakes, here and elsewhere, spread their polls over this time.
const SPREAD: Duration = Duration::from_millis(20);

/// When a wake-up found nothing above the session's queue cursor, the next poll searches the whole
/// queue, because a long transaction puts its machines below the cursor. It waits this long: a burst of
/// wake-ups must not become a burst of such searches, which are expensive under a long-running reader.
const FULL_SEARCH_DELAY: Duration = Duration::from_millis(20);

/// How many polls [`Poller::next_due`] makes while something seems due that it cannot claim: another
/// session is just claiming it, or a heartbeat has moved it since it was planned.
const MOST_EMPTY_POLLS: u32 = 5;

/// Claims machines as they become due. Like a [`Work`], it keeps its session from being closed. Reuse one
/// poller for a process, because it remembers how long the queue has been empty.
///
/// ```
/// # use bmdb_core::{Bmdb, Claim, Config, SessionOptions};
/// # use bmdb_model::{Process, Provided, Provider};
/// use tokio::task::JoinSet;
///
/// const SITE: Provider = Provider::from_static("fra1");
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let db = bmdb_testkit::TestDb::new().await?;
/// # let bmdb = Bmdb::connect(Config::new(db.url())).await?;
/// # let session = bmdb.start_session(SessionOptions::default()).await?;
/// # session.transact(async |tx| {
/// #     let machine = tx.create_machine().await?;
/// #     tx.set_provided(machine, &Provided::new(SITE, "rack-a-07")).await
/// # }).await?;
/// let due = Claim::of(&Process::SHEPHERD_AGENT_START).provider(&SITE);
/// let mut poller = session.poller(&due);
/// let mut running = JoinSet::new();
/// loop {
///     let free = 8_u32.saturating_sub(u32::try_from(running.len())?);
///     tokio::select! {
///         claimed = poller.next(free) => for work in claimed? {
///             // … act on the machine …
///             running.spawn(work.complete());
///         },
///         Some(ended) = running.join_next() => {
///             ended??;
/// #           break;
///         }
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Poller {
    session: Arc<SessionInner>,
    /// One for each provider. The next poll begins with the first.
    queues: VecDeque<Claim>,
    delays: Delays,
    wakeups: watch::Receiver<()>,
    /// Whether the first wait subscribes to notifications.
    listen: bool,
    listener: Option<Arc<ListenGuard>>,
    next_poll: Instant,
    is_woken: bool,
    scan: Scan,
    running: Option<Poll>,
    rate_limiter: Option<Arc<RateLimiter>>,
    /// How many of the rate limiter's permits for the next poll are acquired already.
    permits: usize,
    /// The kind of error that polls have failed with since the last that succeeded.
    failing: Option<Option<ErrorKind>>,
}

/// What a poller does when a poll finds nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WhenEmpty {
    Wait,
    /// Returns, after a few more polls while something seems due.
    Return,
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller")
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

impl Poller {
    pub(crate) fn new(session: Arc<SessionInner>, claim: &Claim, options: PollOptions) -> Self {
        Self {
            queues: VecDeque::from([claim.clone()]),
            delays: options.delays(),
            wakeups: session.component.listener.subscribe(&claim.process),
            session,
            listen: options.listen,
            listener: None,
            next_poll: Instant::now(),
            is_woken: false,
            scan: Scan::FromCursor,
            running: None,
            rate_limiter: None,
            permits: 0,
            failing: None,
        }
    }

    /// The same poller, which claims machines of this provider too, up to the same limit. Each poll asks
    /// for one provider after the other until it has enough, and each begins with another provider.
    #[must_use]
    pub fn and_provider(mut self, provider: &Provider) -> Self {
        let queue = self.queues[0].clone().provider(provider);
        self.queues.push_back(queue);
        self
    }

    /// The same poller with a limit on its claims, which other pollers may share.
    pub(crate) fn rate_limited(self, rate_limiter: Option<Arc<RateLimiter>>) -> Self {
        Self {
            rate_limiter,
            ..self
        }
    }

    /// Waits until machines are due and claims up to `limit` of them, as [`Session::claim`](crate::Session::claim) does. The
    /// answer is never empty. With a limit of 0, the method returns only errors.
    ///
    /// The first poll is made at once. While there is nothing to claim, the interval between polls
    /// doubles from [`PollOptions::min_interval`] to [`PollOptions::max_interval`], each jittered to
    /// between a tenth and the whole of it. The next poll comes earlier when the next machine of the
    /// queue is due earlier, when an attempt of the same process has ended in this component, and when the
    /// database notifies of a machine that a change of its tags has made due, which takes some
    /// milliseconds. While the database cannot be reached, polling continues; while the session is
    /// [`Suspect`](crate::SessionState::Suspect), it pauses.
    ///
    /// Cancellation: nothing is lost, so it can be a branch of `tokio::select!`. The next call continues
    /// the wait or the poll, and gets the claimed machines, as many as its limit allows. The
    /// others are released in the background. If no call comes within a tenth of a second, or the poller
    /// is dropped, all of them are released.
    ///
    /// # Errors
    /// [`TxError::SessionExpired`] as soon as the session is lost, [`TxError::Draining`] as soon as the
    /// component drains, and other errors of [`Session::claim`](crate::Session::claim) that a retry would not help.
    pub async fn next(&mut self, limit: u32) -> Result<Vec<Work>, TxError> {
        self.claim(limit, WhenEmpty::Wait).await
    }

    /// As [`Poller::next`], with an empty answer when nothing is due.
    pub(crate) async fn next_due(&mut self, limit: u32) -> Result<Vec<Work>, TxError> {
        self.claim(limit, WhenEmpty::Return).await
    }

    async fn claim(&mut self, limit: u32, when_empty: WhenEmpty) -> Result<Vec<Work>, TxError> {
        let session = self.session.clone();
        session.component.database.home.refuse_if_ended()?;
        let claimed = tokio::select! {
            // After either of the two, nothing may be claimed. Draining ends the session too.
            biased;
            () = session.component.draining() => Err(TxError::Draining),
            _ = session.lease().lost() => Err(TxError::SessionExpired),
            claimed = self.poll(limit, when_empty), if limit > 0 => claimed,
        };
        if claimed.is_err() {
            self.running = None;
        }
        claimed
    }

    async fn poll(&mut self, limit: u32, when_empty: WhenEmpty) -> Result<Vec<Work>, TxError> {
        let returns = when_empty == WhenEmpty::Return;
        let mut empty_polls = 0;
        loop {
            if returns {
                self.scan = Scan::WholeQueue;
            }
            match self.poll_once(limit).await {
                None => {}
                Some(Ok(answer)) if answer.machines.is_empty() => {
                    self.failing = None;
                    // A poll that has replanned what only seemed due makes progress, so it may be
                    // followed by any number of others.
                    if returns && answer.has_replanned {
                        self.poll_in(Duration::ZERO);
                    } else {
                        empty_polls += 1;
                        self.poll_after(&answer);
                    }
                    if returns && (!answer.is_due_left || empty_polls == MOST_EMPTY_POLLS) {
                        return Ok(Vec::new());
                    }
                }
                Some(Ok(answer)) => {
                    self.failing = None;
                    let mut claimed = answer.machines;
                    self.delays.restart();
                    self.poll_in(Duration::ZERO);
                    claimed.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                    return Ok(claimed);
                }
                // The next poll waits until the session is live again.
                Some(Err(TxError::Suspect)) => self.poll_in(Duration::ZERO),
                Some(Err(error)) => {
                    let delay = self.delays.next();
                    self.poll_in(delay);
                    // One machine's bad value must not keep the others from being claimed.
                    let is_one_machines = error.kind() == Some(ErrorKind::InvalidValue);
                    if !error.may_pass() && !is_one_machines {
                        return Err(error);
                    }
                    self.note_failure(&error);
                }
            }
        }
    }

    /// Logs why polls fail: once for each new reason, because the poller asks again until it passes.
    fn note_failure(&mut self, error: &TxError) {
        let failing = Some(error.kind());
        if self.failing == failing {
            tracing::debug!(%error, "a poll failed");
        } else {
            tracing::warn!(%error, "a poll failed, and is repeated until it succeeds");
        }
        self.failing = failing;
    }

    /// Waits for the running poll, or until it is time for one. `None` if no call has picked
    /// the answer up in time, so its machines were released.
    async fn poll_once(&mut self, limit: u32) -> Option<Result<Answer, TxError>> {
        if self.running.is_none() {
            self.wait().await;
            // The caller reports a lost session.
            self.session.lease().wait_while_suspect().await;
            self.acquire_permits().await;
            // The poll may not see what changes from here on, so that has to wake the poller.
            self.wakeups.mark_unchanged();
        }
        let poll = self.running.get_or_insert_with(|| {
            let queues = self.queues.iter().cloned().collect();
            self.queues.rotate_left(1);
            Poll::start(self.session.clone(), queues, limit, self.scan)
        });
        let answer = poll.answer().await;
        self.running = None;
        answer
    }

    /// Acquires one permit for each queue. If the future is dropped, those that it has got are kept.
    async fn acquire_permits(&mut self) {
        if let Some(rate_limiter) = &self.rate_limiter {
            while self.permits < self.queues.len() {
                rate_limiter.acquire().await;
                self.permits += 1;
            }
            self.permits = 0;
        }
    }

    /// Waits until it is time to poll, or a wake-up comes. If the future is dropped, each step is kept.
    async fn wait(&mut self) {
        if self.next_poll <= Instant::now() {
            return;
        }
        if self.listen && self.listener.is_none() {
            self.listener = self.session.component.listener.listen();
        }
        if !self.is_woken {
            tokio::select! {
                () = tokio::time::sleep_until(self.next_poll) => return,
                // The sender lives as long as its receivers.
                _ = self.wakeups.changed() => {
                    let soon = self.delays.jittered(SPREAD / 2);
                    self.next_poll = self.next_poll.min(Instant::now() + soon);
                    self.is_woken = true;
                }
            }
        }
        tokio::time::sleep_until(self.next_poll).await;
    }

    fn poll_after(&mut self, empty: &Answer) {
        let mut delay = self.delays.next();
        // A head that is due and was not claimed is being claimed by another session.
        if let Some(QueueHead::DueIn(time)) = empty.head {
            delay = delay.min(time + self.delays.jittered(SPREAD));
        }
        let was_woken = self.is_woken;
        self.poll_in(delay);
        if empty.scan == Scan::FromCursor {
            // After RESET, the queue cursor has moved or is gone.
            let (scan, delay) = if was_woken {
                (Scan::WholeQueue, FULL_SEARCH_DELAY)
            } else {
                (Scan::FromCursor, RESET)
            };
            self.scan = scan;
            self.next_poll = self.next_poll.min(Instant::now() + delay);
        }
    }

    fn poll_in(&mut self, delay: Duration) {
        self.next_poll = Instant::now() + delay;
        self.is_woken = false;
        self.scan = Scan::FromCursor;
    }
}
