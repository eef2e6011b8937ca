//! Places for connections: a number for all clients, and a share of it for each.

use super::rate_limit::network_of;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many connections each client has. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Shares {
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// One connection of a client, until it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    of: Shares,
    client: IpAddr,
}

impl Shares {
    /// None is taken; a client may take this many.
    pub(crate) fn new(most: usize) -> Self {
        let taken = Arc::default();
        Self { taken, most }
    }

    /// One more connection of this client; `None` if it has its share already.
    pub(crate) fn take(&self, client: IpAddr) -> Option<Share> {
        let client = network_of(client);
        let mut taken = self.taken();
        let has = taken.get(&client).copied().unwrap_or(0);
        if has >= self.most {
            return None;
        }
        taken.insert(client, has + 1);
        let of = self.clone();
        Some(Share { of, client })
    }

    fn taken(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        // Nobody panics while holding it.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.of.taken();
        match taken.get_mut(&self.client) {
            Some(has) if *has > 1 => *has -= 1,
            // A client that is gone must not be remembered for ever.
            _ => drop(taken.remove(&self.client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_share_and_leaves_the_others_theirs() {
        let shares = Shares::new(2);
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let first = shares.take(one).unwrap();
        let second = shares.take(one).unwrap();
        assert!(shares.take(one).is_none());
        let others = shares.take(other).unwrap();
        drop(first);
        let third = shares.take(one).unwrap();
        assert!(shares.take(one).is_none());
        drop((second, third, others));
        assert!(
            shares.taken().is_empty(),
            "those who are gone are forgotten"
        );
    }

    #[test]
    fn addresses_of_one_network_have_one_share() {
        let shares = Shares::new(1);
        let address = |host: u128| IpAddr::V6(((0x2001_0db8 << 96) + host).into());
        let _first = shares.take(address(1)).unwrap();
        assert!(shares.take(address(2)).is_none());
        assert!(shares.take(address(1 << 64)).is_some());
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let _mapped = shares.take(mapped).unwrap();
        assert!(shares.take([192, 0, 2, 1].into()).is_none());
    }
}
