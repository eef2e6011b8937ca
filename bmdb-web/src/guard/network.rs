//! Network: what limits count as one client.

use std::net::IpAddr;

/// An IPv4 address or, because users of IPv6 have a whole network of
/// addresses, the first 64 bits of an IPv6 address.
pub(super) fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() >> 64 << 64).into()),
        address => address,
    }
}
