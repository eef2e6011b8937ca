//! Connection set-up, and the transactions on a connection.

mod path;
mod transaction;

pub use path::secure_search_path;
pub(crate) use transaction::{PlanSettings, beginning, committing};
pub use transaction::{attempt, begin, check_not_aborted_and_commit, commit, roll_back, save};

use crate::encoding;
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, NotUtf8};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Bool, Integer, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use std::sync::LazyLock;

/// The server process of a connection. Process ids are reused, start times are not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Backend {
    pub pid: i32,
    pub started_at: DateTime<Utc>,
}

/// What a new connection reports about its server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct ConnectionInfo {
    pub backend: Backend,
    pub engine: Engine,
    /// Whether the server is a standby, which replays another server's writes until it is promoted.
    pub is_standby: bool,
    /// Whether transactions are read-only by default, as those of standbys are.
    pub is_read_only: bool,
    /// The encoding in which the database stores texts, such as `UTF8`.
    pub encoding: String,
}

impl ConnectionInfo {
    /// Refuses a database that cannot store every text.
    ///
    /// # Errors
    /// [`NotUtf8`].
    pub fn check_encoding(&self) -> Result<(), NotUtf8> {
        encoding::check(&self.encoding)
    }
}

/// A kind of server that speaks PostgreSQL's protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "variants without a comment explain themselves")]
pub enum Engine {
    PostgreSql,
    CockroachDb,
    YugabyteDb,
    Other,
}

impl Engine {
    /// The engine that names itself in `version()`.
    fn of(version: &str) -> Self {
        if version.contains("CockroachDB") {
            Self::CockroachDb
        } else if version.contains("-YB-") {
            Self::YugabyteDb
        } else if version.starts_with("PostgreSQL ") {
            Self::PostgreSql
        } else {
            Self::Other
        }
    }

    /// Whether the engine has `LISTEN` and `NOTIFY`. Others refuse them, or accept them without effect.
    #[must_use]
    pub const fn has_listen_notify(self) -> bool {
        matches!(self, Self::PostgreSql)
    }
}

statement! {
    WhoServes = concat!(
        "SELECT a.pid, a.backend_start, pg_catalog.version(), ", path::safe_path!(), ", \
                pg_catalog.pg_is_in_recovery(), \
                pg_catalog.current_setting('transaction_read_only') OPERATOR(pg_catalog.=) 'on', \
                pg_catalog.current_setting('server_encoding') \
         FROM pg_catalog.pg_stat_activity a, pg_catalog.pg_settings p \
         WHERE a.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid() \
           AND p.name OPERATOR(pg_catalog.=) 'search_path'"
    );
    () -> (Integer, Timestamptz, Text, Text, Bool, Bool, Text)
}

/// Sets up a new connection. A server that has lost its client ends the client's statement and frees
/// its locks within half a second, and names are looked up in safe schemas only
/// ([`secure_search_path`]).
///
/// # Errors
/// [`Error::Database`].
pub async fn set_up(conn: &mut AsyncPgConnection) -> Result<ConnectionInfo, Error> {
    // Platforms that cannot poll for a closed socket refuse this; their locks last a little longer.
    let _unsupported = conn
        .batch_execute("SET client_connection_check_interval = '500ms'")
        .await;
    let (pid, started_at, version, path, is_standby, is_read_only, encoding) =
        WhoServes {}.get_result(conn).await?;
    let (version, _path): (String, String) = (version, path);
    Ok(ConnectionInfo {
        backend: Backend { pid, started_at },
        engine: Engine::of(&version),
        is_standby,
        is_read_only,
        encoding,
    })
}

/// The settings of [`plan_once`].
pub const PLAN_ONCE: [(&str, &str); 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    // It reads an index from its start to its end, which looks cheap while the table is small.
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// Makes the server plan the statements outside of transactions once, and through the indexes.
///
/// By default it plans every claim again, which takes longer than running it, because it assumes that
/// an unknown limit returns a tenth of the queue. A plan that is kept must not be one for the few rows
/// that a table had when the plan was made, and a scan that cannot be avoided must not seem so
/// expensive that it is compiled. Only statements of this crate run outside of transactions, and all of
/// them look for a few rows whatever their parameters. [`begin`] resets these settings, because a
/// caller's queries may need a plan for each set of parameters, or all rows of a table. Transactions that
/// consist of statements of this crate keep them.
///
/// # Errors
/// [`Error::Database`].
pub async fn plan_once(conn: &mut AsyncPgConnection) -> Result<(), Error> {
    Ok(conn.batch_execute(&plan_once_sql()).await?)
}

/// Like [`plan_once`], until the end of the transaction: for statements of this crate in a transaction of a
/// caller's.
pub(crate) async fn plan_once_locally(mut conn: &AsyncPgConnection) -> Result<(), Error> {
    Ok(conn.batch_execute(&PLAN_ONCE_LOCALLY).await?)
}

static PLAN_ONCE_LOCALLY: LazyLock<String> = LazyLock::new(|| {
    PLAN_ONCE
        .map(|(name, value)| format!("SET LOCAL {name} = {value}"))
        .join("; ")
});

/// The text that [`plan_once`] sends, for explaining a statement as a pooled connection runs it.
#[must_use]
pub fn plan_once_sql() -> String {
    PLAN_ONCE
        .map(|(name, value)| format!("SET {name} = {value};"))
        .join(" ")
}

statement! {
    Terminate = "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a \
                 WHERE a.pid = $1 AND a.backend_start = $2";
    (pid: i32 => Integer, started_at: DateTime<Utc> => Timestamptz) -> Bool
}

/// Tells a server process to end; returns whether it is gone already. Once it is gone, a statement
/// whose answer was lost can no longer take effect.
///
/// # Errors
/// [`Error::Database`], also when the process belongs to another database user.
pub async fn terminate(conn: &mut AsyncPgConnection, backend: Backend) -> Result<bool, Error> {
    let Backend { pid, started_at } = backend;
    let signalled: Option<bool> = Terminate { pid, started_at }
        .get_result(conn)
        .await
        .optional()?;
    Ok(signalled.is_none())
}

#[cfg(test)]
mod tests {
    use super::Engine;

    #[test]
    fn only_postgresql_itself_is_taken_to_have_listen_and_notify() {
        for (version, engine) in [
            (
                "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu",
                Engine::PostgreSql,
            ),
            (
                "PostgreSQL 18beta1 on aarch64-apple-darwin",
                Engine::PostgreSql,
            ),
            (
                "CockroachDB CCL v23.1.11 (x86_64-pc-linux-gnu, built 2023/09/27)",
                Engine::CockroachDb,
            ),
            (
                "PostgreSQL 15.2-YB-2.25.0.0-b0 on x86_64-pc-linux-gnu",
                Engine::YugabyteDb,
            ),
            ("Materialize v0.9", Engine::Other),
            ("", Engine::Other),
        ] {
            assert_eq!(Engine::of(version), engine, "{version}");
            assert_eq!(engine.has_listen_notify(), engine == Engine::PostgreSql);
        }
    }
}
