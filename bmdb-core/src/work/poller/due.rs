//! Claiming what is due now, without waiting for more, and at a pace.

use super::Poller;
use crate::error::TxError;
use crate::work::Work;
use crate::work::claim::Scan;
use crate::work::rate_limiter::Pace;
use std::sync::Arc;
use std::time::Duration;

/// How often is looked again while something seems due that cannot be claimed: somebody else is just
/// claiming it, or a heartbeat has moved it since it was planned.
const LOOKS: u32 = 5;

impl Poller {
    /// The same, which polls no more often than that, in the company of all that share the pace.
    pub(crate) fn at_pace(mut self, pace: Option<Arc<Pace>>) -> Self {
        self.pace = pace;
        self
    }

    /// As [`Poller::next`], with an empty answer when nothing is due.
    pub(crate) async fn next_due(&mut self, limit: u32) -> Result<Vec<Work>, TxError> {
        let session = self.session.clone();
        let polled = tokio::select! {
            biased;
            () = session.component.draining() => Err(TxError::Draining),
            _ = session.lease().lost() => Err(TxError::SessionExpired),
            polled = self.poll_while_due(limit), if limit > 0 => polled,
        };
        if polled.is_err() {
            self.poll = None;
        }
        polled
    }

    async fn poll_while_due(&mut self, limit: u32) -> Result<Vec<Work>, TxError> {
        let mut looks = 0;
        loop {
            self.scan = Scan::WholeQueue;
            match self.poll_once(limit).await {
                None => {}
                // A look that planned anew what only seemed due has come further, however often that is.
                Some(Ok(answer)) if answer.machines.is_empty() && answer.has_replanned => {
                    self.rest_for(Duration::ZERO);
                    if !answer.is_due_left {
                        return Ok(Vec::new());
                    }
                }
                Some(Ok(answer)) if answer.machines.is_empty() => {
                    looks += 1;
                    self.rest_after(&answer);
                    if !answer.is_due_left || looks == LOOKS {
                        return Ok(Vec::new());
                    }
                }
                Some(polled) => {
                    if let Some(works) = self.settled(polled, limit)? {
                        return Ok(works);
                    }
                }
            }
        }
    }
}
