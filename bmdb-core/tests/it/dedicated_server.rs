//! Dedicated servers for tests, besides the shared one.

use bmdb_testkit::{Installation, Lookup, Places, Profile, Server};
use std::sync::Arc;

/// The requested installation, and the default one.
pub(crate) fn installed() -> impl Iterator<Item = Installation> {
    let requested = Places {
        database_url: None,
        ..Places::from_env()
    };
    let default = Places {
        pg_bin: None,
        ..requested.clone()
    };
    [requested, default]
        .into_iter()
        .filter_map(|places| Lookup::search(&places).installation().ok())
}

pub(crate) async fn server(profile: Profile) -> Arc<Server> {
    let boot = move || {
        let installation = installed().next().expect("a PostgreSQL");
        Server::boot(&installation, profile)
    };
    Arc::new(tokio::task::spawn_blocking(boot).await.unwrap().unwrap())
}
