//! Lease: how long this program may rely on a session, by its own lease clock and independent of the database.

use crate::db::deadline::LeaseWatch;
use crate::db::lease_clock::LeaseInstant;
use crate::session::options::SessionTerms;
use bmdb_model::SessionId;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// Whether a session can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// The last heartbeat succeeded.
    Live,
    /// The last heartbeat failed or is overdue, and the lease has not run out yet. Nothing new is started
    /// in this state; claimed work continues and can end.
    Suspect,
    /// The lease has run out, was found expired, or was given up. It never becomes live again.
    Lost,
}

/// What is known of the lease's deadline.
#[derive(Debug, Clone, Copy)]
struct Validity {
    /// When the last heartbeat that was answered had been sent.
    confirmed: LeaseInstant,
    last_beat_failed: bool,
    lost_at: Option<LeaseInstant>,
}

/// The lease, which the heartbeat and the users of a session share.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) session: SessionId,
    pub(crate) terms: SessionTerms,
    validity: watch::Sender<Validity>,
    closed: AtomicBool,
}

impl Lease {
    /// A lease granted by a statement that was sent at `sent`.
    pub(crate) fn new(session: SessionId, terms: SessionTerms, sent: LeaseInstant) -> Self {
        let validity = watch::Sender::new(Validity {
            confirmed: sent,
            last_beat_failed: false,
            lost_at: None,
        });
        Self {
            session,
            terms,
            validity,
            closed: AtomicBool::new(false),
        }
    }

    /// Extends the lease after a heartbeat that was sent at `sent`. The database set the deadline at that
    /// moment or later, so counting from the sending is safe. A lease that ran out before the answer
    /// stays lost: its users have seen it lost.
    pub(crate) fn renew(&self, sent: LeaseInstant) {
        let terms = self.terms;
        self.validity.send_modify(|validity| {
            validity.lost_at = validity.lost_by(terms, LeaseInstant::now());
            validity.confirmed = sent;
            validity.last_beat_failed = false;
        });
    }

    pub(crate) fn beat_failed(&self) {
        self.validity
            .send_modify(|validity| validity.last_beat_failed = true);
    }

    pub(crate) fn lose(&self) {
        let (terms, now) = (self.terms, LeaseInstant::now());
        self.validity
            .send_modify(|validity| validity.lost_at = validity.lost_by(terms, now).or(Some(now)));
    }

    pub(crate) fn state(&self) -> SessionState {
        self.validity
            .borrow()
            .state(self.terms, LeaseInstant::now())
    }

    /// When the lease runs out if no further heartbeat succeeds.
    pub(crate) fn valid_until(&self) -> LeaseInstant {
        self.validity.borrow().until(self.terms)
    }

    /// Whether the lease has run out by itself, even if it was given up before that.
    pub(crate) fn has_run_out(&self) -> bool {
        self.valid_until().has_come()
    }

    /// How long ago the last answered heartbeat was sent.
    pub(crate) fn unconfirmed_for(&self) -> Duration {
        self.validity.borrow().confirmed.elapsed()
    }

    /// When the lease was lost, if it is.
    pub(crate) fn lost_since(&self) -> Option<LeaseInstant> {
        self.validity
            .borrow()
            .lost_by(self.terms, LeaseInstant::now())
    }

    /// Resolves when the lease is lost, with the time of the loss. Depends on no other task, and on timers only
    /// to be polled: each poll looks at the clock.
    pub(crate) async fn lost(&self) -> LeaseInstant {
        let mut validity = self.validity.subscribe();
        loop {
            let seen = *validity.borrow_and_update();
            let now = LeaseInstant::now();
            if let Some(since) = seen.lost_by(self.terms, now) {
                return since;
            }
            tokio::select! {
                biased;
                () = seen.until(self.terms).reached() => {}
                changed = validity.changed() => {
                    // Fails only without a sender, and `self` owns it.
                    if changed.is_err() { return now; }
                }
            }
        }
    }

    /// Resolves when the lease is live or lost, with that state.
    pub(crate) async fn wait_while_suspect(&self) -> SessionState {
        let mut validity = self.validity.subscribe();
        loop {
            let seen = *validity.borrow_and_update();
            let state = seen.state(self.terms, LeaseInstant::now());
            if state != SessionState::Suspect {
                return state;
            }
            tokio::select! {
                biased;
                () = seen.until(self.terms).reached() => {}
                changed = validity.changed() => {
                    // Fails only without a sender, and `self` owns it.
                    if changed.is_err() { return state; }
                }
            }
        }
    }

    /// Notes that the database has no row of the session any more.
    pub(crate) fn mark_closed(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

impl LeaseWatch for Lease {
    fn session(&self) -> SessionId {
        self.session
    }

    fn lost_since(&self) -> Option<LeaseInstant> {
        Lease::lost_since(self)
    }

    fn lost(&self) -> BoxFuture<'_, LeaseInstant> {
        Lease::lost(self).boxed()
    }
}

impl Validity {
    fn until(&self, terms: SessionTerms) -> LeaseInstant {
        self.confirmed + terms.validity()
    }

    /// When the lease was lost, if it is by `now`.
    fn lost_by(&self, terms: SessionTerms, now: LeaseInstant) -> Option<LeaseInstant> {
        let until = self.until(terms);
        self.lost_at.or((now >= until).then_some(until))
    }

    fn state(&self, terms: SessionTerms, now: LeaseInstant) -> SessionState {
        if self.lost_by(terms, now).is_some() {
            SessionState::Lost
        } else if self.last_beat_failed || now >= self.confirmed + terms.suspect_after() {
            SessionState::Suspect
        } else {
            SessionState::Live
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::lease_clock::simulated;
    use crate::session::options::SessionOptions;
    use futures_util::FutureExt;

    /// Suspect ten thirds of a second after a heartbeat, lost after four seconds.
    fn lease() -> Lease {
        let options = SessionOptions::default().margin(Duration::from_secs(1));
        Lease::new(
            SessionId::random(),
            options.terms().unwrap(),
            LeaseInstant::now(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn without_heartbeats_the_lease_is_lost_a_margin_before_its_deadline() {
        let (lease, start) = (lease(), LeaseInstant::now());
        lease.beat_failed();
        assert_eq!(lease.state(), SessionState::Suspect);
        assert_eq!(lease.lost().await, start + Duration::from_secs(4));
        assert_eq!(start.elapsed(), Duration::from_secs(4));
        assert_eq!(lease.state(), SessionState::Lost);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_counts_from_the_sending_of_the_heartbeat() {
        let lease = lease();
        let sent = LeaseInstant::now();
        tokio::time::advance(Duration::from_secs(2)).await;
        lease.renew(sent + Duration::from_secs(1));
        lease.lost().await;
        assert_eq!(sent.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_does_not_come_back() {
        let lease = lease();
        let start = LeaseInstant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        lease.renew(LeaseInstant::now());
        assert_eq!(lease.state(), SessionState::Lost);
        assert_eq!(lease.lost().await, start + Duration::from_secs(4));
        assert_eq!(lease.wait_while_suspect().await, SessionState::Lost);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_suspect_once_its_heartbeat_is_overdue() {
        let lease = lease();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(lease.state(), SessionState::Live);
        tokio::time::advance(Duration::from_millis(334)).await;
        assert_eq!(lease.state(), SessionState::Suspect);
        lease.renew(LeaseInstant::now());
        assert_eq!(lease.state(), SessionState::Live);
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_a_suspect_lease_ends_when_it_is_live_or_lost() {
        for renewed in [true, false] {
            let lease = lease();
            lease.beat_failed();
            let beat = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if renewed {
                    lease.renew(LeaseInstant::now());
                }
                LeaseInstant::now()
            };
            let waited = async { (lease.wait_while_suspect().await, LeaseInstant::now()) };
            let (at, (state, waited_until)) = tokio::join!(beat, waited);
            if renewed {
                assert_eq!((state, waited_until), (SessionState::Live, at));
            } else {
                assert_eq!(state, SessionState::Lost);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_is_lost_from_the_moment_it_is_given_up() {
        let lease = lease();
        tokio::time::advance(Duration::from_secs(1)).await;
        let given_up = LeaseInstant::now();
        lease.lose();
        tokio::time::advance(Duration::from_secs(1)).await;
        lease.lose();
        assert_eq!(lease.lost().await, given_up);
    }

    /// Post-mortem: `lost()` waited for a timer, which did not count the time for which a laptop was asleep:
    /// its holder acted for seconds beside the next one.
    #[tokio::test(start_paused = true)]
    async fn a_lease_runs_out_while_the_computer_is_asleep() {
        let (lease, start) = (lease(), LeaseInstant::now());
        let mut lost = std::pin::pin!(lease.lost());
        let mut suspect = std::pin::pin!(lease.wait_while_suspect());
        lease.beat_failed();
        assert!(lost.as_mut().now_or_never().is_none());
        assert!(suspect.as_mut().now_or_never().is_none());
        simulated::suspend(Duration::from_secs(60));
        // No timer has fired, and each of them is asked first.
        assert_eq!(lease.state(), SessionState::Lost);
        let expected = start + Duration::from_secs(4);
        assert_eq!(lost.as_mut().now_or_never(), Some(expected));
        assert_eq!(suspect.as_mut().now_or_never(), Some(SessionState::Lost));
        assert_eq!(lease.lost_since(), Some(expected));
    }

    #[tokio::test(start_paused = true)]
    async fn a_heartbeat_that_was_answered_after_the_sleep_does_not_bring_a_lease_back() {
        let lease = lease();
        let sent = LeaseInstant::now();
        simulated::suspend(Duration::from_secs(60));
        lease.renew(sent);
        assert_eq!(lease.state(), SessionState::Lost);
    }
}
