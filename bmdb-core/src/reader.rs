//! `Reader`: reads without a session, for consoles, commands and exporters.

use crate::db::config::Config;
use crate::db::database::Database;
use crate::db::home_runtime::HomeRuntime;
use crate::db::tx_fn::ConnBody;
use crate::error::{ConnectError, TxError};
use crate::telemetry::Meters;
use bmdb_model::connection::Isolation;
use bmdb_model::internal::notify::Notify;
use bmdb_model::migration;
use std::sync::Arc;

/// Reads on its own connections, without background tasks: no session, no heartbeat, no janitor. It works
/// on a standby, with `target_session_attrs=any` or `prefer-standby` in the URL.
///
/// Each read is counted as a transaction of [`Config::component`] ([`crate::telemetry`]). Of [`Config`],
/// only `pool_size`, `connect_timeout`, `statement_timeout` and `lock_timeout` apply. The last is how long
/// a read waits behind a migration.
///
/// ```
/// # use bmdb_testkit::TestDb;
/// use bmdb_core::{Config, Reader};
/// use bmdb_model::counts;
///
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let db = TestDb::new().await?;
/// let reader = Reader::connect(Config::new(db.url()).pool_size(2)).await?;
/// let fleet = reader.read(async |conn| Ok(counts::fleet(conn).await?)).await?;
/// assert_eq!(fleet.machines, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Reader {
    database: Database,
    meters: Arc<Meters>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    /// Connects, and checks that this program understands the database's schema.
    ///
    /// Cancellation: nothing stays behind.
    ///
    /// # Errors
    /// Every variant of [`ConnectError`]; [`ConnectError::Migration`] also for a database that has not
    /// been migrated.
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        let home = HomeRuntime::current()?;
        let target = config.target()?;
        let (mut conn, _) = target.connect().await?;
        migration::check(&mut conn).await?;
        Ok(Self {
            database: Database::new(
                home,
                target,
                config.pool_size,
                config.retry_for,
                Notify::Off,
            ),
            meters: Arc::new(Meters::new(&config.component)),
        })
    }

    /// Runs `body` in a transaction that cannot write and locks no row; all its statements see the same
    /// snapshot. It is rolled back at the end.
    ///
    /// Cancellation: dropping the future closes the connection; nothing stays behind.
    ///
    /// # Errors
    /// [`TxError::Unavailable`] if no connection is available in time, [`TxError::ClosureEndedTransaction`],
    /// [`TxError::RuntimeEnded`], the closure's error, or a database
    /// error.
    pub async fn read<T, F: ConnBody<T>>(&self, body: F) -> Result<T, TxError> {
        let reading = self.database.read(Isolation::RepeatableRead, &body);
        self.meters.transaction(reading, Result::is_err).await
    }
}
