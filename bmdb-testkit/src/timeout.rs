//! How long the kit waits for anything before it gives up with an error.

use std::env;
use std::time::Duration;

/// A boot takes a tenth of a second, but on a machine that compiles on every core it can take a
/// hundred times as long.
const DEFAULT: Duration = Duration::from_secs(60);

/// The timeout of every wait: `BMDB_TESTKIT_TIMEOUT` in whole seconds, else one minute.
pub(crate) fn timeout() -> Duration {
    env::var("BMDB_TESTKIT_TIMEOUT")
        .ok()
        .and_then(|seconds| seconds.trim().parse().ok())
        .map_or(DEFAULT, Duration::from_secs)
}
