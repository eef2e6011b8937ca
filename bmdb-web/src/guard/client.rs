//! Client: the other end of a connection.

use super::connection_limit::Slot;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;

#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) address: IpAddr,
    pub(crate) connected_at: Instant,
    /// Its place among the connections.
    pub(crate) slot: Arc<Slot>,
}

/// What limits count as one client: an IPv4 address or, because users of IPv6 have a whole network of
/// addresses, the first 64 bits of an IPv6 address.
pub(super) fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}
