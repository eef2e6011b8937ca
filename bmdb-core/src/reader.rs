//! Reading without a session: for consoles, commands and exporters, which watch and hold nothing.

use crate::db::config::Config;
use crate::db::connect::Target;
use crate::db::deadline::Patience;
use crate::db::pool::Pool;
use crate::db::transaction::TxFn;
use crate::error::{ConnectError, TxError};
use crate::telemetry::Meters;
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::connection;
use bmdb_model::migration;
use diesel_async::AsyncPgConnection;
use std::sync::Arc;

/// Reads on connections of its own, which run nothing in the background: no session, no heartbeat, no
/// janitor. A standby will do, with `target_session_attrs=any` or `prefer-standby` in the URL.
///
/// Each read is counted as a transaction of [`Config::component`] ([`crate::telemetry`]). Of [`Config`],
/// `pool_size`, `connect_timeout`, `statement_timeout` and `lock_timeout` count. The last
/// is how long a read waits behind a migration.
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
    pool: Pool,
    meters: Arc<Meters>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

impl Reader {
    /// Connects, and finds out whether the database has a schema that this program understands.
    ///
    /// Cancellation: nothing stays behind.
    ///
    /// # Errors
    /// Every variant of [`ConnectError`]; [`ConnectError::Migration`] also for a database that has not
    /// been migrated.
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        let target = Target::new(&config)?;
        let (mut conn, _) = target.connect().await?;
        migration::check(&mut conn).await?;
        Ok(Self {
            pool: Pool::new(target, config.pool_size, &config),
            meters: Arc::new(Meters::new(&config.component)),
        })
    }

    /// Runs `body` in a transaction that cannot write and locks no row; all its statements see the same
    /// moment. Rolled back at the end.
    ///
    /// Cancellation: dropping the future closes the connection; nothing stays behind.
    ///
    /// # Errors
    /// [`TxError::Unavailable`] when no connection is to be had in time, what the closure fails with, or
    /// a database error.
    pub async fn read<T, F>(&self, body: F) -> Result<T, TxError>
    where
        F: for<'r> TxFn<&'r mut AsyncPgConnection, Result<T, TxError>, Fut: Send> + Sync,
    {
        let reading = self.read_once(&body);
        self.meters.transaction(reading, Result::is_err).await
    }

    async fn read_once<T, F>(&self, body: &F) -> Result<T, TxError>
    where
        F: for<'r> TxFn<&'r mut AsyncPgConnection, Result<T, TxError>, Fut: Send> + Sync,
    {
        let patience = Patience::of_server(&self.pool);
        let mut conn = patience.checkout(&self.pool).await?;
        let read = async {
            connection::begin(&mut conn, Isolation::RepeatableRead, Access::ReadOnly).await?;
            let read = body(&mut conn).await;
            // It has written nothing, so there is nothing to commit either.
            connection::roll_back(&mut conn).await?;
            read
        };
        match patience.answer(read).await {
            Ok(read) => {
                conn.give_back();
                Ok(read)
            }
            Err(error) => {
                conn.give_back_after(&error);
                Err(error)
            }
        }
    }
}
