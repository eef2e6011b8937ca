//! A session's lease as this program sees it: how long it may be trusted, on the local monotonic
//! clock, whatever the database does.

use crate::session::options::Terms;
use bmdb_model::SessionId;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Whether a session can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// The last heartbeat went through.
    Live,
    /// The last heartbeat failed, or is overdue; the lease has not run out yet. Nothing new is started
    /// meanwhile; what is under way goes on, and ends.
    Suspect,
    /// The lease has run out, was found expired, or was given up. It never comes back.
    Lost,
}

#[derive(Debug, Clone, Copy)]
struct Trust {
    /// When the last heartbeat that was answered had been sent.
    confirmed: Instant,
    last_beat_failed: bool,
    lost_at: Option<Instant>,
}

/// What the heartbeat and the users of a session share.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) session: SessionId,
    pub(crate) terms: Terms,
    trust: watch::Sender<Trust>,
    closed: AtomicBool,
}

impl Lease {
    /// A lease granted by a statement that was sent at `sent`.
    pub(crate) fn new(session: SessionId, terms: Terms, sent: Instant) -> Self {
        let trust = watch::Sender::new(Trust {
            confirmed: sent,
            last_beat_failed: false,
            lost_at: None,
        });
        Self {
            session,
            terms,
            trust,
            closed: AtomicBool::new(false),
        }
    }

    /// A heartbeat that was sent at `sent` has moved the deadline. The database set it at or after
    /// that moment, so counting from the sending errs on the safe side. A lease that ran out
    /// meanwhile stays lost: its users have been told.
    pub(crate) fn renew(&self, sent: Instant) {
        let terms = self.terms;
        self.trust.send_modify(|trust| {
            trust.lost_at = trust.lost_by(terms, Instant::now());
            trust.confirmed = sent;
            trust.last_beat_failed = false;
        });
    }

    pub(crate) fn beat_failed(&self) {
        self.trust
            .send_modify(|trust| trust.last_beat_failed = true);
    }

    pub(crate) fn lose(&self) {
        let (terms, now) = (self.terms, Instant::now());
        self.trust
            .send_modify(|trust| trust.lost_at = trust.lost_by(terms, now).or(Some(now)));
    }

    pub(crate) fn state(&self) -> SessionState {
        self.trust.borrow().state(self.terms, Instant::now())
    }

    /// How long the lease may be trusted if no further heartbeat goes through.
    pub(crate) fn trusted_until(&self) -> Instant {
        self.trust.borrow().until(self.terms)
    }

    /// How long ago the last heartbeat that was answered had been sent.
    pub(crate) fn unconfirmed_for(&self) -> Duration {
        self.trust.borrow().confirmed.elapsed()
    }

    /// Since when the lease is lost, if it is.
    pub(crate) fn lost_since(&self) -> Option<Instant> {
        self.trust.borrow().lost_by(self.terms, Instant::now())
    }

    /// Resolves when the lease is lost, with the time since when; needs nobody else to make progress
    /// for that.
    pub(crate) async fn lost(&self) -> Instant {
        let mut trust = self.trust.subscribe();
        loop {
            let seen = *trust.borrow_and_update();
            let now = Instant::now();
            if let Some(since) = seen.lost_by(self.terms, now) {
                return since;
            }
            tokio::select! {
                () = tokio::time::sleep_until(seen.until(self.terms)) => {}
                changed = trust.changed() => {
                    // The sender lives in `self`.
                    if changed.is_err() { return now; }
                }
            }
        }
    }

    /// Resolves when the lease is not suspect, with what it is then.
    pub(crate) async fn wait_while_suspect(&self) -> SessionState {
        let mut trust = self.trust.subscribe();
        loop {
            let seen = *trust.borrow_and_update();
            let state = seen.state(self.terms, Instant::now());
            if state != SessionState::Suspect {
                return state;
            }
            tokio::select! {
                () = tokio::time::sleep_until(seen.until(self.terms)) => {}
                changed = trust.changed() => {
                    // The sender lives in `self`.
                    if changed.is_err() { return state; }
                }
            }
        }
    }

    /// Nothing of the session is left in the database.
    pub(crate) fn mark_closed(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }
}

impl Trust {
    fn until(&self, terms: Terms) -> Instant {
        self.confirmed + terms.trust()
    }

    /// Since when it is lost, if it is.
    fn lost_by(&self, terms: Terms, now: Instant) -> Option<Instant> {
        let until = self.until(terms);
        self.lost_at.or((now >= until).then_some(until))
    }

    fn state(&self, terms: Terms, now: Instant) -> SessionState {
        if self.lost_by(terms, now).is_some() {
            SessionState::Lost
        } else if self.last_beat_failed || now >= self.confirmed + terms.suspicion() {
            SessionState::Suspect
        } else {
            SessionState::Live
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::options::SessionOptions;

    /// Suspect ten thirds of a second after a beat, lost after four seconds.
    fn lease() -> Lease {
        let options = SessionOptions::default().margin(Duration::from_secs(1));
        Lease::new(
            SessionId::random(),
            options.terms().unwrap(),
            Instant::now(),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn without_heartbeats_the_lease_is_lost_a_margin_before_its_deadline() {
        let (lease, start) = (lease(), Instant::now());
        lease.beat_failed();
        assert_eq!(lease.state(), SessionState::Suspect);
        assert_eq!(lease.lost().await, start + Duration::from_secs(4));
        assert_eq!(start.elapsed(), Duration::from_secs(4));
        assert_eq!(lease.state(), SessionState::Lost);
    }

    #[tokio::test(start_paused = true)]
    async fn a_renewal_counts_from_the_sending_of_the_heartbeat() {
        let lease = lease();
        let sent = Instant::now();
        tokio::time::advance(Duration::from_secs(2)).await;
        lease.renew(sent + Duration::from_secs(1));
        lease.lost().await;
        assert_eq!(sent.elapsed(), Duration::from_secs(5));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_does_not_come_back() {
        let lease = lease();
        let start = Instant::now();
        tokio::time::advance(Duration::from_secs(5)).await;
        lease.renew(Instant::now());
        assert_eq!(lease.state(), SessionState::Lost);
        assert_eq!(lease.lost().await, start + Duration::from_secs(4));
        assert_eq!(lease.wait_while_suspect().await, SessionState::Lost);
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_whose_heartbeat_is_overdue_is_suspect_though_nobody_says_so() {
        let lease = lease();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert_eq!(lease.state(), SessionState::Live);
        tokio::time::advance(Duration::from_millis(334)).await;
        assert_eq!(lease.state(), SessionState::Suspect);
        lease.renew(Instant::now());
        assert_eq!(lease.state(), SessionState::Live);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_suspect_lease_is_told_how_it_ends() {
        for healed in [true, false] {
            let lease = lease();
            lease.beat_failed();
            let beat = async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if healed {
                    lease.renew(Instant::now());
                }
                Instant::now()
            };
            let told = async { (lease.wait_while_suspect().await, Instant::now()) };
            let (at, (state, told_at)) = tokio::join!(beat, told);
            if healed {
                assert_eq!((state, told_at), (SessionState::Live, at));
            } else {
                assert_eq!(state, SessionState::Lost);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_given_up_is_lost_since_then() {
        let lease = lease();
        tokio::time::advance(Duration::from_secs(1)).await;
        let given_up = Instant::now();
        lease.lose();
        tokio::time::advance(Duration::from_secs(1)).await;
        lease.lose();
        assert_eq!(lease.lost().await, given_up);
    }
}
