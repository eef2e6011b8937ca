//! Rate limits: requests per second of one client, and of all clients.

use super::network::network_of;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A page makes about five requests, so a user who clicks fast stays below it.
const PER_CLIENT: Quota = quota(20, 100);

/// Of all clients: the load that the database may get from pages.
const TOTAL: Quota = quota(100, 400);

/// How many requests pass before idle clients are forgotten.
const CLEANUP: u32 = 1024;

const fn quota(per_second: u32, burst: u32) -> Quota {
    let per_second = NonZeroU32::new(per_second).expect("it is above 0");
    let burst = NonZeroU32::new(burst).expect("it is above 0");
    Quota::per_second(per_second).allow_burst(burst)
}

pub(super) struct RateLimits {
    per_client: DefaultKeyedRateLimiter<IpAddr>,
    total: DefaultDirectRateLimiter,
    clock: DefaultClock,
    requests: AtomicU32,
}

impl std::fmt::Debug for RateLimits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimits").finish_non_exhaustive()
    }
}

impl RateLimits {
    pub(super) fn new() -> Self {
        Self {
            per_client: RateLimiter::keyed(PER_CLIENT),
            total: RateLimiter::direct(TOTAL),
            clock: DefaultClock::default(),
            requests: AtomicU32::new(0),
        }
    }

    /// Counts a request of this client.
    ///
    /// # Errors
    /// How long the client must wait.
    pub(super) fn check(&self, client: IpAddr) -> Result<(), Duration> {
        if self.requests.fetch_add(1, Ordering::Relaxed) % CLEANUP == CLEANUP - 1 {
            self.per_client.retain_recent();
        }
        let checked = self.per_client.check_key(&network_of(client));
        let checked = checked.and_then(|()| self.total.check());
        checked.map_err(|late| late.wait_time_from(self.clock.now()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_is_limited_separately() {
        let limits = RateLimits::new();
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let answered = (0..1000).filter(|_| limits.check(one).is_ok()).count();
        assert!((100..140).contains(&answered), "{answered}");
        let wait = limits.check(one).unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert!(limits.check(other).is_ok());
    }

    #[test]
    fn addresses_of_one_network_share_a_limit() {
        let limits = RateLimits::new();
        let answered = (0..1000_u128).filter(|host| {
            let address = IpAddr::V6(((0x2001_0db8 << 96) + host).into());
            limits.check(address).is_ok()
        });
        let answered = answered.count();
        assert!((100..140).contains(&answered), "{answered}");
    }

    #[test]
    fn the_sum_of_all_clients_is_limited() {
        let limits = RateLimits::new();
        let answered =
            (0..2000_u32).filter(|client| limits.check(IpAddr::V4(client.to_be().into())).is_ok());
        let answered = answered.count();
        assert!((400..500).contains(&answered), "{answered}");
    }
}
