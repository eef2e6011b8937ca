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
