//! Poll options: how a poller waits.

use crate::db::retry::Delays;
use std::time::Duration;

/// The longest interval that can be set.
const LONGEST: Duration = Duration::from_secs(86_400);

/// How a poller waits while there is nothing to claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PollOptions {
    /// The longest wait after the first empty poll; each further empty poll doubles it. At least 1 ms.
    /// Default: 100 ms.
    pub min_interval: Duration,
    /// The limit of that doubling; at least `min_interval`, at most a day. When another program gives a
    /// machine back, or a janitor reclaims it, no poller is woken, so it may be noticed this late.
    /// Default: 5 s, as long as the default lease; a hundred idle pollers then cost the server some
    /// forty polls a second, of five pages each.
    pub max_interval: Duration,
    /// Whether notifications of the database wake the poller too, for which the component keeps one
    /// more connection. Default: yes; without effect on engines that lack `LISTEN` and `NOTIFY`.
    pub listen: bool,
}

impl Default for PollOptions {
    fn default() -> Self {
        Self {
            min_interval: Duration::from_millis(100),
            max_interval: Duration::from_secs(5),
            listen: true,
        }
    }
}

impl PollOptions {
    /// The same with another [`min_interval`](Self::min_interval) and
    /// [`max_interval`](Self::max_interval).
    #[must_use]
    pub const fn poll_interval(self, min: Duration, max: Duration) -> Self {
        Self {
            min_interval: min,
            max_interval: max,
            ..self
        }
    }

    /// The same with another [`listen`](Self::listen).
    #[must_use]
    pub const fn listen(self, listen: bool) -> Self {
        Self { listen, ..self }
    }

    pub(super) fn delays(&self) -> Delays {
        let min = self.min_interval.clamp(Duration::from_millis(1), LONGEST);
        Delays::new(min, self.max_interval.clamp(min, LONGEST))
    }
}
