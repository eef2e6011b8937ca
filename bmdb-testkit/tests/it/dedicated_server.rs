//! Servers that only one test uses, even if `BMDB_TEST_DATABASE_URL` is set.

use crate::Result;
use bmdb_testkit::{Installation, Lookup, Places, Profile, Server};
use std::sync::Arc;

pub(crate) fn boot(profile: Profile) -> Result<Server> {
    Ok(Server::boot(&installed()?, profile)?)
}

pub(crate) fn installed() -> Result<Installation> {
    let places = Places {
        database_url: None,
        ..Places::from_env()
    };
    Ok(Lookup::search(&places).installation()?)
}

pub(crate) async fn server(profile: Profile) -> Result<Arc<Server>> {
    let boot = move || boot(profile).map_err(|error| error.to_string());
    Ok(Arc::new(tokio::task::spawn_blocking(boot).await??))
}
