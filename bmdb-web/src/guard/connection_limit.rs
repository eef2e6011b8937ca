//! Connection limit: how many connections there are, and which of them makes room for another one.
//!
//! A flood of connections must not keep operators and health checks out, also if all come from the address
//! of one proxy. So a new connection is not refused while there is one that matters less: it has shown no
//! token, or it is idle.

use super::network::network_of;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// How long every new connection stays, so that it can send its request.
const FIRST_REQUEST: Duration = Duration::from_millis(100);

/// How long a connection whose client is authorized must be idle before it makes room: the last response
/// has been sent by then.
const IDLE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    slots: Vec<Weak<Slot>>,
    total: usize,
    per_client: usize,
}

/// A connection, until it is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    network: IpAddr,
    opened_at: Instant,
    usage: Mutex<Usage>,
    evicted: Notify,
}

#[derive(Debug, Default)]
struct Usage {
    /// Whether a request had what the server requires.
    is_authorized: bool,
    /// Whether a request that is not refused is being answered.
    is_busy: bool,
    /// When the last of these was answered.
    answered_at: Option<Instant>,
    /// Its connection is being closed, and does not count.
    is_evicted: bool,
}

/// A request that is being answered, until it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Slot>);

/// Why there is no slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Full {
    /// The client's connections are all in use.
    Client,
    /// All connections are in use or new: try again in a moment.
    Total,
}

/// How much a connection matters, from the least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Rank {
    /// It has shown no token, and asks for nothing.
    Unauthorized,
    /// It gets an answer that needs no token.
    Public,
    /// It has shown the token, and is idle.
    Idle,
}

impl ConnectionLimit {
    pub(crate) fn new(total: usize, per_client: usize) -> Self {
        Self {
            slots: Vec::new(),
            total,
            per_client,
        }
    }

    /// A slot for one more connection of this client. If there is none left, it ends the connection that
    /// matters least: one of this client if the client has as many as it may, otherwise one of the client
    /// that has most of them.
    ///
    /// # Errors
    /// [`Full`] if no connection may be ended.
    pub(crate) fn take(&mut self, client: IpAddr) -> Result<Arc<Slot>, Full> {
        let network = network_of(client);
        let slots = self.open();
        let own = slots.iter().filter(|slot| slot.network == network);
        let own: Vec<_> = own.map(Arc::clone).collect();
        if own.len() >= self.per_client {
            let is_new = own.iter().any(|slot| slot.is_new());
            let full = if is_new { Full::Total } else { Full::Client };
            least(&own).ok_or(full)?.evict();
        } else if slots.len() >= self.total {
            least(&slots).ok_or(Full::Total)?.evict();
        }
        let slot = Arc::new(Slot {
            network,
            opened_at: Instant::now(),
            usage: Mutex::default(),
            evicted: Notify::new(),
        });
        self.slots.push(Arc::downgrade(&slot));
        Ok(slot)
    }

    /// Ends the connection that matters least, for a process that has no file descriptor left for another
    /// one. Returns whether there is one to end.
    pub(crate) fn make_room(&mut self) -> bool {
        let slots = self.open();
        least(&slots).map(|slot| slot.evict()).is_some()
    }

    /// The connections that are not being closed.
    fn open(&mut self) -> Vec<Arc<Slot>> {
        self.slots.retain(|slot| slot.strong_count() > 0);
        let slots = self.slots.iter().filter_map(Weak::upgrade);
        slots.filter(|slot| !slot.usage().is_evicted).collect()
    }
}

/// The connection that matters least: of the lowest rank, of the client that has most of these, the oldest.
fn least(slots: &[Arc<Slot>]) -> Option<&Arc<Slot>> {
    let ranked = slots.iter().filter_map(|slot| Some((slot.rank()?, slot)));
    let ranked: Vec<_> = ranked.collect();
    let lowest = ranked.iter().map(|(rank, _)| *rank).min()?;
    let lowest = ranked.into_iter().filter(|(rank, _)| *rank == lowest);
    let lowest: Vec<_> = lowest.map(|(_, slot)| slot).collect();
    let mut counts: HashMap<IpAddr, usize> = HashMap::new();
    for slot in &lowest {
        *counts.entry(slot.network).or_default() += 1;
    }
    let key = |slot: &&Arc<Slot>| {
        let count = counts.get(&slot.network).copied().unwrap_or_default();
        (std::cmp::Reverse(count), slot.opened_at)
    };
    lowest.into_iter().min_by_key(key)
}

impl Slot {
    /// Resolves when another connection needs this slot.
    pub(crate) async fn evicted(&self) {
        self.evicted.notified().await;
    }

    /// Called for each request that is not refused.
    pub(super) fn begin(self: &Arc<Self>, is_authorized: bool) -> UnderWay {
        let mut usage = self.usage();
        usage.is_authorized |= is_authorized;
        usage.is_busy = true;
        UnderWay(Arc::clone(self))
    }

    fn evict(&self) {
        self.usage().is_evicted = true;
        self.evicted.notify_one();
    }

    fn is_new(&self) -> bool {
        self.usage().answered_at.is_none() && self.opened_at.elapsed() < FIRST_REQUEST
    }

    /// `None` if the connection stays.
    fn rank(&self) -> Option<Rank> {
        if self.is_new() {
            return None;
        }
        let usage = self.usage();
        match (usage.is_authorized, usage.is_busy) {
            (false, false) => Some(Rank::Unauthorized),
            (false, true) => Some(Rank::Public),
            (true, true) => None,
            (true, false) => {
                let idle = usage.answered_at.map(|at| at.elapsed());
                idle.is_none_or(|idle| idle >= IDLE).then_some(Rank::Idle)
            }
        }
    }

    fn usage(&self) -> std::sync::MutexGuard<'_, Usage> {
        // Each field is replaced in one step, so a poisoned lock is still consistent.
        self.usage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut usage = self.0.usage();
        usage.is_busy = false;
        usage.answered_at = Some(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    const ONE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn is_evicted(slot: &Slot) -> bool {
        slot.usage().is_evicted
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_at_its_limit_loses_its_own_oldest_connection() {
        let mut limit = ConnectionLimit::new(10, 2);
        let other = limit.take(OTHER).unwrap();
        let first = limit.take(ONE).unwrap();
        advance(FIRST_REQUEST).await;
        let second = limit.take(ONE).unwrap();
        let third = limit.take(ONE).unwrap();
        assert!(is_evicted(&first) && !is_evicted(&second) && !is_evicted(&other));
        // Both are new.
        assert_eq!(limit.take(ONE).unwrap_err(), Full::Total);
        drop((second, third));
        assert!(limit.take(ONE).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn connections_in_use_stay_and_idle_ones_make_room_last() {
        let mut limit = ConnectionLimit::new(3, 3);
        let idle = limit.take(ONE).unwrap();
        drop(idle.begin(true));
        let busy = limit.take(ONE).unwrap();
        let under_way = busy.begin(true);
        let health = limit.take(ONE).unwrap();
        let checking = health.begin(false);
        advance(FIRST_REQUEST.max(IDLE)).await;
        let fourth = limit.take(ONE).unwrap();
        assert!(is_evicted(&health));
        let _fourth = fourth.begin(true);
        let fifth = limit.take(ONE).unwrap();
        assert!(is_evicted(&idle) && !is_evicted(&busy));
        let _fifth = fifth.begin(true);
        assert_eq!(limit.take(ONE).unwrap_err(), Full::Total, "the last is new");
        advance(FIRST_REQUEST).await;
        assert_eq!(limit.take(ONE).unwrap_err(), Full::Client);
        assert_eq!(limit.take(OTHER).unwrap_err(), Full::Total);
        drop((under_way, checking));
        advance(IDLE).await;
        assert!(limit.take(ONE).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_client_with_most_connections_makes_room_for_others() {
        let mut limit = ConnectionLimit::new(3, 3);
        let lonely = limit.take(OTHER).unwrap();
        let greedy = [limit.take(ONE).unwrap(), limit.take(ONE).unwrap()];
        advance(FIRST_REQUEST).await;
        let _third = limit.take([192, 0, 2, 3].into()).unwrap();
        assert!(!is_evicted(&lonely), "although it is the oldest");
        assert!(is_evicted(&greedy[0]) && !is_evicted(&greedy[1]));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_file_descriptor_the_oldest_connection_makes_room() {
        let mut limit = ConnectionLimit::new(3, 3);
        assert!(!limit.make_room());
        let (first, second) = (limit.take(ONE).unwrap(), limit.take(ONE).unwrap());
        assert!(!limit.make_room(), "both are new");
        advance(FIRST_REQUEST).await;
        assert!(limit.make_room());
        assert!(is_evicted(&first) && !is_evicted(&second));
    }

    #[tokio::test(start_paused = true)]
    async fn addresses_of_one_network_share_a_limit() {
        let mut limit = ConnectionLimit::new(10, 1);
        let address = |host: u128| IpAddr::V6(((0x2001_0db8 << 96) + host).into());
        let _first = limit.take(address(1)).unwrap();
        assert!(limit.take(address(2)).is_err());
        let _other_network = limit.take(address(1 << 64)).unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let _mapped = limit.take(mapped).unwrap();
        assert!(limit.take(ONE).is_err());
    }
}
