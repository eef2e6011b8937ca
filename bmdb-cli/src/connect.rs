//! How this program connects, and who it says it is.

use crate::exit::Exit;
use crate::failure::Failure;
use bmdb_core::Config;

/// The database of the URL; what it leaves out is the environment's.
pub(crate) fn config(url: Option<&str>) -> Config {
    Config::new(url.unwrap_or_default())
        .fill_from_env()
        .component("bmdb-cli")
        .runtime_info(format!("{} pid {}", user_at_host(), std::process::id()))
        .janitor_interval(None)
        .pool_size(3)
}

/// Who runs this program, and where: `root@control-1`.
pub(crate) fn user_at_host() -> String {
    let user = nix::unistd::User::from_uid(nix::unistd::geteuid());
    let user = match user {
        Ok(Some(user)) => user.name,
        _ => format!("uid {}", nix::unistd::geteuid()),
    };
    let host = nix::unistd::gethostname().map(|host| host.to_string_lossy().into_owned());
    format!("{user}@{}", host.as_deref().unwrap_or("unknown host"))
}

/// Says where the database is named, to those who may not have known.
pub(crate) fn explain(failure: Failure, has_url: bool) -> Failure {
    match failure.exit() {
        Exit::Unreachable | Exit::Usage if !has_url => failure.hint(
            "name the database with --database-url or BMDB_DATABASE_URL \
             (postgres://user@host/database), or with PGHOST, PGUSER, PGDATABASE, …",
        ),
        _ => failure,
    }
}
