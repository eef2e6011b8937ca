//! Waiting for work: polls that become rarer while there is none, and wake-ups that come before them.

mod due;
mod poll;

use self::poll::Poll;
use crate::db::listener::ListenGuard;
use crate::db::retry::Delays;
use crate::error::TxError;
use crate::work::Work;
use crate::work::claim::{Answer, Claim, Scan};
use crate::work::inner::SessionInner;
use crate::work::queue_cursor::RESET;
use crate::work::rate_limiter::Pace;
use bmdb_model::Provider;
use bmdb_model::work::QueueHead;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The longest delay that can be asked for.
const LONGEST: Duration = Duration::from_secs(86_400);

/// The pollers that one event wakes, here and elsewhere, poll within this time, one after the other.
const SPREAD: Duration = Duration::from_millis(20);

/// After a wake-up that found nothing above the session's floor, all of the queue is looked at: a
/// transaction that takes long puts its machines below. Not at once, for a burst of wake-ups under a
/// long-running reader is just what the floor is for.
const SETTLE: Duration = Duration::from_millis(20);

/// How a poller waits while there is nothing to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollOptions {
    /// The longest wait after the first poll in vain; each further one doubles it. At least 1 ms.
    /// Default: 100 ms.
    pub shortest_delay: Duration,
    /// What the waits grow to; at least the shortest, at most a day. Nobody is woken for machines that
    /// were given back by others or lost, so this is how late they may be noticed. Default: 5 s, as
    /// long as a dead worker's lease; a hundred idle pollers then cost the server some forty polls a
    /// second, of five pages each.
    pub longest_delay: Duration,
    /// Whether to be woken by the database as well, for which the component keeps one more
    /// connection. Default: yes; on engines without `LISTEN` and `NOTIFY` it makes no difference.
    pub listen: bool,
}

impl Default for PollOptions {
    fn default() -> Self {
        Self {
            shortest_delay: Duration::from_millis(100),
            longest_delay: Duration::from_secs(5),
            listen: true,
        }
    }
}

impl PollOptions {
    /// The same with other delays.
    #[must_use]
    pub const fn poll_interval(self, min: Duration, max: Duration) -> Self {
        Self {
            shortest_delay: min,
            longest_delay: max,
            ..self
        }
    }

    /// The same, woken by the database or not.
    #[must_use]
    pub const fn listen(self, listen: bool) -> Self {
        Self { listen, ..self }
    }

    fn idle(&self) -> Delays {
        let shortest = self.shortest_delay.clamp(Duration::from_millis(1), LONGEST);
        Delays::new(shortest, self.longest_delay.clamp(shortest, LONGEST))
    }
}

/// Claims machines as they become due. It keeps its session as a work does; keep it for as long as its
/// process is worked on, for it remembers how idle the queue was.
///
/// ```
/// # use bmdb_core::{Bmdb, Claim, Config, SessionOptions};
/// # use bmdb_model::{Process, Provided, Provider};
/// use tokio::task::JoinSet;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let db = bmdb_testkit::TestDb::new().await?;
/// # let bmdb = Bmdb::connect(Config::new(db.url())).await?;
/// # let session = bmdb.start_session(SessionOptions::default()).await?;
/// # session.transact(async |tx| {
/// #     let machine = tx.create_machine().await?;
/// #     tx.set_provided(machine, &Provided::new(Provider::EQUINIX, "1")).await
/// # }).await?;
/// let due = Claim::of(&Process::SHEPHERD_AGENT_START).provider(&Provider::EQUINIX);
/// let mut poller = session.poller(&due);
/// let mut running = JoinSet::new();
/// loop {
///     let free = 8_u32.saturating_sub(u32::try_from(running.len())?);
///     tokio::select! {
///         works = poller.next(free) => for work in works? {
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
    /// One for each provider; the first in the next poll is the first here.
    queues: VecDeque<Claim>,
    idle: Delays,
    listener: watch::Receiver<()>,
    /// Listens with the first wait.
    listen: bool,
    listening: Option<Arc<ListenGuard>>,
    /// When to poll, and how.
    at: Instant,
    woken: bool,
    scan: Scan,
    /// The poll that is on its way.
    poll: Option<Poll>,
    /// How often it may poll, and how many of the turns for its next poll it has got already.
    pace: Option<Arc<Pace>>,
    turns: usize,
}

impl std::fmt::Debug for Poller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Poller")
            .field("queues", &self.queues)
            .finish_non_exhaustive()
    }
}

impl Poller {
    pub(crate) fn new(session: &Arc<SessionInner>, claim: &Claim, options: PollOptions) -> Self {
        Self {
            session: session.clone(),
            queues: VecDeque::from([claim.clone()]),
            idle: options.idle(),
            listener: session.component.listener.subscribe(&claim.process),
            listen: options.listen,
            listening: None,
            at: Instant::now(),
            woken: false,
            scan: Scan::FromCursor,
            poll: None,
            pace: None,
            turns: 0,
        }
    }

    /// The same, which claims machines of this provider too, up to the same limit: each poll asks for one
    /// provider after the other until it has enough, another one first each time.
    #[must_use]
    pub fn and_provider(mut self, provider: &Provider) -> Self {
        let further = self.queues[0].clone().provider(provider);
        self.queues.push_back(further);
        self
    }

    /// Waits until machines are due and claims up to `limit` of them, as [`Session::claim`](crate::Session::claim) does. The
    /// answer is never empty; with a limit of 0 there is none but an error.
    ///
    /// The first poll is made at once. While there is nothing to claim, further ones come after delays
    /// that double from [`PollOptions::shortest_delay`] to [`PollOptions::longest_delay`], each
    /// jittered to between a tenth and the whole of it; earlier when the next machine of the queue is
    /// due earlier, when a work of the same process has ended in this component, and when the database
    /// notifies of a machine that has become due by a change of its tags, which takes some
    /// milliseconds. While the database cannot be reached, polling goes on; while the session is
    /// [`Suspect`](crate::SessionState::Suspect), it rests.
    ///
    /// Cancellation: nothing is lost, so it can be a branch of `tokio::select!`. A wait or a poll on its
    /// way goes on with the next call, which gets what was claimed, or as much of it as its limit allows.
    /// The rest is given back in the background; so is all of it if no call comes within a tenth of a
    /// second, or the poller is dropped.
    ///
    /// # Errors
    /// [`TxError::SessionExpired`] as soon as the session is lost, [`TxError::Draining`] as soon as the
    /// component drains, and what else [`Session::claim`](crate::Session::claim) can fail with and would again.
    pub async fn next(&mut self, limit: u32) -> Result<Vec<Work>, TxError> {
        let session = self.session.clone();
        let polled = tokio::select! {
            // What has ended claims nothing more. Draining ends the session too.
            biased;
            () = session.component.draining() => Err(TxError::Draining),
            _ = session.lease().lost() => Err(TxError::SessionExpired),
            polled = self.poll_until_claimed(limit), if limit > 0 => polled,
        };
        if polled.is_err() {
            self.poll = None;
        }
        polled
    }

    async fn poll_until_claimed(&mut self, limit: u32) -> Result<Vec<Work>, TxError> {
        loop {
            match self.poll_once(limit).await {
                None => {}
                Some(Ok(answer)) if answer.machines.is_empty() => self.rest_after(&answer),
                Some(polled) => {
                    if let Some(works) = self.settled(polled, limit)? {
                        return Ok(works);
                    }
                }
            }
        }
    }

    /// What a poll has claimed; `None` when it failed and another one may not.
    fn settled(
        &mut self,
        polled: Result<Answer, TxError>,
        limit: u32,
    ) -> Result<Option<Vec<Work>>, TxError> {
        match polled {
            Ok(Answer {
                machines: mut works,
                ..
            }) => {
                self.idle.restart();
                self.rest_for(Duration::ZERO);
                works.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
                return Ok(Some(works));
            }
            // Until the session is live again: the next poll waits for that.
            Err(TxError::Suspect) => self.rest_for(Duration::ZERO),
            Err(error) => {
                let delay = self.idle.next();
                self.rest_for(delay);
                if !error.may_pass() {
                    return Err(error);
                }
                tracing::debug!(%error, "a poll failed");
            }
        }
        Ok(None)
    }

    /// Waits for the poll that is on its way, or until it is time for one; `None` when its answer was
    /// not waited for.
    async fn poll_once(&mut self, limit: u32) -> Option<Result<Answer, TxError>> {
        if self.poll.is_none() {
            self.rest().await;
            // One that is lost is told by the caller.
            self.session.lease().wait_while_suspect().await;
            self.take_turns().await;
            // What changes from here on wakes, for the poll may not see it.
            self.listener.mark_unchanged();
        }
        let poll = self.poll.get_or_insert_with(|| {
            let queues = self.queues.iter().cloned().collect();
            self.queues.rotate_left(1);
            Poll::begin(self.session.clone(), queues, limit, self.scan)
        });
        let answer = poll.answer().await;
        self.poll = None;
        answer
    }

    /// One turn for each queue. Those that were got are kept, should the future be dropped.
    async fn take_turns(&mut self) {
        if let Some(pace) = &self.pace {
            while self.turns < self.queues.len() {
                pace.ready().await;
                self.turns += 1;
            }
            self.turns = 0;
        }
    }

    /// Until it is time to poll, or something wakes. What has come of it is kept at each step, should
    /// the future be dropped.
    async fn rest(&mut self) {
        if self.at <= Instant::now() {
            return;
        }
        if self.listen && self.listening.is_none() {
            self.listening = self.session.component.listener.listen();
        }
        if !self.woken {
            tokio::select! {
                () = tokio::time::sleep_until(self.at) => return,
                // The sender lives as long as its receivers.
                _ = self.listener.changed() => {
                    let soon = self.idle.jittered(SPREAD / 2);
                    self.at = self.at.min(Instant::now() + soon);
                    self.woken = true;
                }
            }
        }
        tokio::time::sleep_until(self.at).await;
    }

    fn rest_after(&mut self, answer: &Answer) {
        let mut delay = self.idle.next();
        // A head that is due and was not claimed is somebody else's, and no reason to hurry.
        if let Some(QueueHead::DueIn(time)) = answer.head {
            delay = delay.min(time + self.idle.jittered(SPREAD));
        }
        let was_woken = self.woken;
        self.rest_for(delay);
        if answer.scan == Scan::FromCursor {
            // By then the floor is another one, or none.
            let (scan, delay) = if was_woken {
                (Scan::WholeQueue, SETTLE)
            } else {
                (Scan::FromCursor, RESET)
            };
            self.scan = scan;
            self.at = self.at.min(Instant::now() + delay);
        }
    }

    fn rest_for(&mut self, delay: Duration) {
        self.at = Instant::now() + delay;
        self.woken = false;
        self.scan = Scan::FromCursor;
    }
}
