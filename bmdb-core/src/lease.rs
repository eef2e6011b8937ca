//! A session's lease as this program sees it: how long it may be trusted, on the local monotonic
//! clock, whatever the database does.

use bmdb_model::SessionId;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Whether a session can be relied on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionState {
    /// The last heartbeat went through.
    Live,
    /// The last heartbeat failed; the lease has not run out yet.
    Suspect,
    /// The lease has run out, was found expired, or was given up. It never comes back.
    Lost,
}

#[derive(Debug, Clone, Copy)]
struct Trust {
    until: Instant,
    last_beat_failed: bool,
    lost: bool,
}

/// What the heartbeat and the users of a session share.
#[derive(Debug)]
pub(crate) struct Lease {
    pub(crate) session: SessionId,
    pub(crate) interval: Duration,
    margin: Duration,
    trust: watch::Sender<Trust>,
}

impl Lease {
    /// A lease granted by a statement that was sent at `sent`.
    pub(crate) fn new(
        session: SessionId,
        interval: Duration,
        margin: Duration,
        sent: Instant,
    ) -> Self {
        let until = sent + (interval - margin);
        let trust = watch::Sender::new(Trust {
            until,
            last_beat_failed: false,
            lost: false,
        });
        Self {
            session,
            interval,
            margin,
            trust,
        }
    }

    /// A heartbeat that was sent at `sent` has moved the deadline. The database set it at or after
    /// that moment, so counting from the sending errs on the safe side. A lease that ran out
    /// meanwhile stays lost: its users have been told.
    pub(crate) fn renew(&self, sent: Instant) {
        let until = sent + (self.interval - self.margin);
        self.trust.send_modify(|trust| {
            trust.lost |= Instant::now() >= trust.until;
            trust.until = until;
            trust.last_beat_failed = false;
        });
    }

    pub(crate) fn beat_failed(&self) {
        self.trust
            .send_modify(|trust| trust.last_beat_failed = true);
    }

    pub(crate) fn lose(&self) {
        self.trust.send_modify(|trust| trust.lost = true);
    }

    pub(crate) fn state(&self) -> SessionState {
        let trust = *self.trust.borrow();
        if trust.lost || Instant::now() >= trust.until {
            SessionState::Lost
        } else if trust.last_beat_failed {
            SessionState::Suspect
        } else {
            SessionState::Live
        }
    }

    /// How long the lease may be trusted if no further heartbeat goes through.
    pub(crate) fn trusted_until(&self) -> Instant {
        self.trust.borrow().until
    }

    /// Resolves when the lease is lost; needs nobody else to make progress for that.
    pub(crate) async fn lost(&self) {
        let mut trust = self.trust.subscribe();
        loop {
            let Trust { until, lost, .. } = *trust.borrow_and_update();
            if lost || Instant::now() >= until {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                changed = trust.changed() => {
                    // The sender lives in `self`.
                    if changed.is_err() { return; }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease() -> Lease {
        let (interval, margin) = (Duration::from_secs(5), Duration::from_secs(1));
        Lease::new(SessionId::random(), interval, margin, Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn without_heartbeats_the_lease_is_lost_a_margin_before_its_deadline() {
        let (lease, start) = (lease(), Instant::now());
        lease.beat_failed();
        assert_eq!(lease.state(), SessionState::Suspect);
        lease.lost().await;
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
        tokio::time::advance(Duration::from_secs(4)).await;
        lease.renew(Instant::now());
        assert_eq!(lease.state(), SessionState::Lost);
    }
}
