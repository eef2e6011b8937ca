//! Connection limit: how many connections each client may have.

use super::client::network_of;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Weak};

#[derive(Debug)]
pub(crate) struct ConnectionLimit {
    /// Each connection of a client is a strong reference.
    clients: HashMap<IpAddr, Weak<()>>,
    per_client: usize,
}

/// A connection of a client, until it is dropped.
pub(crate) type Slot = Arc<()>;

impl ConnectionLimit {
    pub(crate) fn new(per_client: usize) -> Self {
        Self {
            clients: HashMap::new(),
            per_client,
        }
    }

    /// One more connection for this client; `None` if it has as many as it may.
    pub(crate) fn take(&mut self, client: IpAddr) -> Option<Slot> {
        // Forgets clients without connections.
        self.clients.retain(|_, slots| slots.strong_count() > 0);
        let slots = self.clients.entry(network_of(client)).or_default();
        if slots.strong_count() >= self.per_client {
            return None;
        }
        let slot = slots.upgrade().unwrap_or_default();
        *slots = Arc::downgrade(&slot);
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_at_its_limit_leaves_connections_for_others() {
        let mut limit = ConnectionLimit::new(2);
        let (one, other) = ([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
        let first = limit.take(one).unwrap();
        let second = limit.take(one).unwrap();
        assert!(limit.take(one).is_none());
        let others = limit.take(other).unwrap();
        drop(first);
        let third = limit.take(one).unwrap();
        assert!(limit.take(one).is_none());
        drop((second, third));
        let more = limit.take(other).unwrap();
        assert_eq!(
            limit.clients.len(),
            1,
            "clients without connections are forgotten"
        );
        drop((others, more));
    }

    #[test]
    fn addresses_of_one_network_share_a_limit() {
        let mut limit = ConnectionLimit::new(1);
        let address = |host: u128| IpAddr::V6(((0x2001_0db8 << 96) + host).into());
        let _first = limit.take(address(1)).unwrap();
        assert!(limit.take(address(2)).is_none());
        let _other_network = limit.take(address(1 << 64)).unwrap();
        let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
        let _mapped = limit.take(mapped).unwrap();
        assert!(limit.take([192, 0, 2, 1].into()).is_none());
    }
}
