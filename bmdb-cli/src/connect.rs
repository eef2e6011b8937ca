//! Connection settings of this program, and the name it gives itself in the database.

use crate::exit::Exit;
use crate::failure::Failure;
use bmdb_core::Config;

/// The configuration for a database URL. The environment fills in what the URL leaves out.
pub(crate) fn config(url: Option<&str>) -> Config {
    Config::new(url.unwrap_or_default())
        .fill_from_env()
        .component("bmdb-cli")
        .runtime_info(format!("{} pid {}", user_at_host(), std::process::id()))
        .janitor_interval(None)
        .pool_size(3)
}

/// The user and the host of this process, such as `root@control-1`.
pub(crate) fn user_at_host() -> String {
    let id = nix::unistd::geteuid();
    let user = match nix::unistd::User::from_uid(id) {
        Ok(Some(user)) => user.name,
        _ => format!("uid {id}"),
    };
    let host = nix::unistd::gethostname().map(|host| host.to_string_lossy().into_owned());
    format!("{user}@{}", host.as_deref().unwrap_or("unknown host"))
}

/// Adds a hint on how to name the database if no URL was given.
pub(crate) fn explain(failure: Failure, has_url: bool) -> Failure {
    match failure.exit() {
        Exit::Unreachable | Exit::Usage if !has_url => failure.hint(
            "name the database with --database-url or BMDB_DATABASE_URL \
             (postgres://user@host/database), or with PGHOST, PGUSER, PGDATABASE, …",
        ),
        _ => failure,
    }
}
