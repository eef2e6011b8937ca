//! How many requests are answered in a second: of one client, and of all.

use governor::clock::{Clock, DefaultClock};
use governor::state::keyed::HashMapStateStore;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// A page is some five requests with its assets; whoever clicks fast stays below.
const OF_ONE: Rate = Rate::new(20, 100);

/// Of all clients together: more than the database should be asked for pages.
const OF_ALL: Rate = Rate::new(100, 400);

/// How many requests there are between two clearings of clients that were not seen lately.
const CLEARING: u32 = 1024;

struct Rate {
    per_second: NonZeroU32,
    burst: NonZeroU32,
}

impl Rate {
    const fn new(per_second: u32, burst: u32) -> Self {
        Self {
            per_second: NonZeroU32::new(per_second).expect("more than none"),
            burst: NonZeroU32::new(burst).expect("more than none"),
        }
    }

    fn quota(&self) -> Quota {
        Quota::per_second(self.per_second).allow_burst(self.burst)
    }
}

/// The limits of a server.
pub(super) struct Limits {
    of_one: RateLimiter<IpAddr, HashMapStateStore<IpAddr>, DefaultClock>,
    of_all: DefaultDirectRateLimiter,
    clock: DefaultClock,
    seen: AtomicU32,
}

impl std::fmt::Debug for Limits {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Limits").finish_non_exhaustive()
    }
}

impl Limits {
    pub(super) fn new() -> Self {
        Self {
            of_one: RateLimiter::hashmap(OF_ONE.quota()),
            of_all: RateLimiter::direct(OF_ALL.quota()),
            clock: DefaultClock::default(),
            seen: AtomicU32::new(0),
        }
    }

    /// Whether a client may ask now.
    ///
    /// # Errors
    /// How long it is to wait.
    pub(super) fn check(&self, client: IpAddr) -> Result<(), Duration> {
        // A client that is gone must not be remembered for ever.
        if self.seen.fetch_add(1, Ordering::Relaxed) % CLEARING == CLEARING - 1 {
            self.of_one.retain_recent();
        }
        let now = self.clock.now();
        self.of_one
            .check_key(&network_of(client))
            .map_err(|late| late.wait_time_from(now))?;
        self.of_all.check().map_err(|late| late.wait_time_from(now))
    }
}

/// What is one client: of IPv6 everybody has a network of addresses.
pub(super) fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_client_is_limited_before_others_are() {
        let limits = Limits::new();
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let answered = (0..1000).filter(|_| limits.check(one).is_ok()).count();
        assert!((100..140).contains(&answered), "{answered}");
        let wait = limits.check(one).unwrap_err();
        assert!(wait <= Duration::from_secs(1), "{wait:?}");
        assert!(limits.check(other).is_ok());
    }

    #[test]
    fn addresses_of_one_network_are_one_client() {
        let limits = Limits::new();
        let answered = (0..1000_u128).filter(|host| {
            let address = IpAddr::V6(((0x2001_0db8 << 96) + host).into());
            limits.check(address).is_ok()
        });
        let answered = answered.count();
        assert!((100..140).contains(&answered), "{answered}");
    }

    #[test]
    fn all_clients_together_are_limited_too() {
        let limits = Limits::new();
        let answered =
            (0..2000_u32).filter(|client| limits.check(IpAddr::V4(client.to_be().into())).is_ok());
        let answered = answered.count();
        assert!((400..500).contains(&answered), "{answered}");
    }
}
