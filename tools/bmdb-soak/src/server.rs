//! PostgreSQL of a run: an installed one, or one that is downloaded.

use crate::failure::{Done, Failure};
use bmdb_testkit::Lookup;

pub(crate) use bmdb_dev::server::Network;

/// Downloads PostgreSQL if none is installed and downloads are allowed.
pub(crate) fn provide(network: Network) -> Done {
    let provided = bmdb_dev::server::provide(&Lookup::from_env(), network);
    provided.map_err(|failure| Failure::step(failure.message().unwrap_or("no PostgreSQL")))
}
