//! Faults: connections that are cut, killed or silent, and futures that are dropped midway.

mod claims;
#[cfg(feature = "fleet")]
mod cleanup;
#[cfg(feature = "fleet")]
mod crash;
mod doubt;
#[cfg(feature = "fleet")]
mod dropped;
mod ends;
mod lease;
mod silence;

use bmdb_core::{Bmdb, Config};
use bmdb_testkit::Proxy;
use std::time::Duration;

/// The text of a commit as it is prepared, which `READ COMMITTED` does not contain.
const COMMIT: &str = "COMMIT\0";

/// The retry limit of an operation that is to fail soon.
const SHORT: Duration = Duration::from_millis(300);

/// A component behind the proxy, with a short retry limit.
async fn component_behind(proxy: &Proxy) -> Bmdb {
    component_trying_for(proxy, SHORT).await
}

async fn component_trying_for(proxy: &Proxy, limit: Duration) -> Bmdb {
    let mut config = Config::new(proxy.url())
        .component("test")
        .janitor_interval(None);
    config.retry_for = limit;
    Bmdb::connect(config).await.unwrap()
}
