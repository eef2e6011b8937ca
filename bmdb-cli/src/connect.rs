//! Connection settings of this program, and the name it gives itself in the database.

use crate::exit::Exit;
use crate::failure::Failure;
use bmdb_core::{Config, ConnectError};
use std::time::Duration;

/// Delays between tries to connect to a server that starts.
const FIRST_DELAY: Duration = Duration::from_millis(200);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

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

/// Connects a program that runs for long: waits, with growing delays, for a server that says that it may take
/// the connection later.
pub(crate) async fn connect_service<T, F>(
    connect: impl Fn() -> F,
    waiting: impl Fn(&ConnectError, Duration),
) -> Result<T, ConnectError>
where
    F: Future<Output = Result<T, ConnectError>>,
{
    let mut delay = FIRST_DELAY;
    loop {
        match connect().await {
            Err(error) if error.may_pass() => waiting(&error, delay),
            connected => return connected,
        }
        tokio::time::sleep(delay).await;
        delay = (delay * 2).min(LONGEST_DELAY);
    }
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
