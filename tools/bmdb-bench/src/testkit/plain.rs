//! Plain statements on an open connection: what the testkit is compared with.

use bmdb_model::migration;
use bmdb_shell::Failure;
use diesel_async::AsyncPgConnection;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio_postgres::{Client, Config, NoTls};

/// A connection to the administrative database of a server.
pub(super) struct Plain {
    config: Config,
    pub(super) client: Client,
    /// The testkit's template, which has bmdb's migrations.
    pub(super) template: String,
}

/// Names are unique within the process, which shares its servers with no other.
static NAMES: AtomicUsize = AtomicUsize::new(0);

impl Plain {
    pub(super) async fn connect(url: &str) -> Result<Self, Failure> {
        let config: Config = url.parse().map_err(Failure::check)?;
        let client = connect(&config).await?;
        let template = "SELECT datname FROM pg_database
                        WHERE datname LIKE 'bmdb\\_template\\_%' AND datistemplate";
        let template = client
            .query_one(template, &[])
            .await
            .map_err(|error| Failure::check(format!("finding the template: {error}")))?
            .get(0);
        Ok(Self {
            config,
            client,
            template,
        })
    }

    /// Creates a database by CREATE DATABASE, with additional options if given.
    pub(super) async fn create(&self, template: &str, more: &str) -> Result<String, Failure> {
        let name = format!("plain_{}", NAMES.fetch_add(1, Ordering::Relaxed));
        self.execute(&format!(
            "CREATE DATABASE {name} TEMPLATE {template} {more}"
        ))
        .await?;
        Ok(name)
    }

    pub(super) async fn migrate(&self, name: &str) -> Result<(), Failure> {
        let connecting = self.config_of(name).connect(NoTls).await;
        let (client, connection) = connecting.map_err(Failure::check)?;
        let conn = AsyncPgConnection::try_from_client_and_connection(client, connection)
            .await
            .map_err(Failure::check)?;
        let migrated = migration::run_pending(conn).await;
        migrated.map(drop).map_err(Failure::check)
    }

    /// Waits for a database's first answer on a new connection.
    pub(super) async fn ask(&self, name: &str) -> Result<(), Failure> {
        ask(&self.config_of(name)).await
    }

    /// Drops a database and waits until that is done.
    pub(super) async fn drop(&self, name: &str) -> Result<(), Failure> {
        self.execute(&format!("DROP DATABASE {name} WITH (FORCE)"))
            .await
    }

    /// Waits until the databases that are dropped in the background are gone, so that this does not
    /// disturb the next measurement.
    pub(super) async fn wait_until_gone(&self, like: &str) -> Result<(), Failure> {
        let count = "SELECT count(*) FROM pg_database WHERE datname LIKE $1";
        let begun = Instant::now();
        loop {
            let left = self.client.query_one(count, &[&like]).await;
            if left.map_err(Failure::check)?.get::<_, i64>(0) == 0 {
                return Ok(());
            }
            if begun.elapsed() > Duration::from_secs(60) {
                return Err(Failure::check(
                    "dropped databases still exist after a minute",
                ));
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    pub(super) async fn execute(&self, sql: &str) -> Result<(), Failure> {
        let done = self.client.batch_execute(sql).await;
        done.map_err(|error| match error.as_db_error() {
            Some(printed) => Failure::check(format!("{sql}: {printed}")),
            None => Failure::check(format!("{sql}: {error}")),
        })
    }

    fn config_of(&self, name: &str) -> Config {
        let mut config = self.config.clone();
        config.dbname(name);
        config
    }
}

/// Connects and runs one query.
pub(super) async fn ask(config: &Config) -> Result<(), Failure> {
    let client = connect(config).await?;
    let answer = client.simple_query("SELECT 1").await;
    answer.map(drop).map_err(Failure::check)
}

async fn connect(config: &Config) -> Result<Client, Failure> {
    let (client, connection) = config.connect(NoTls).await.map_err(Failure::check)?;
    tokio::spawn(async move {
        // The next query reports the error.
        let _ = connection.await;
    });
    Ok(client)
}
