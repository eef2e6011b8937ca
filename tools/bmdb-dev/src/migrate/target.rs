//! Target: the database that a migration command works on, and what commands do to it.

use bmdb_core::{Bmdb, Config};
use bmdb_dev::block_on;
use bmdb_dev::server::{self, Network};
use bmdb_model::migration;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::{Lookup, TestDb};
use clap::Args;
use diesel_async::AsyncPgConnection;

#[derive(Debug, Args)]
pub(super) struct Target {
    /// The database to use. Other users can see command lines: put the password into PGPASSWORD or
    /// ~/.pgpass.
    #[arg(long, value_name = "URL")]
    pub(super) database_url: Option<String>,
    #[command(flatten)]
    pub(super) network: Network,
}

/// Runs on the given database, or on a temporary one.
pub(super) fn on(target: &Target, run: impl AsyncFn(&str) -> Done) -> Done {
    if let Some(url) = &target.database_url {
        return block_on(run(url));
    }
    server::provide(&Lookup::from_env(), target.network)?;
    println!("using a temporary database, because --database-url is not given:");
    block_on(async {
        let db = TestDb::empty().await.map_err(Failure::check)?;
        run(db.url()).await
    })
}

pub(super) async fn apply(url: &str) -> Done {
    let bmdb = Bmdb::connect(config(url)).await.map_err(Failure::check)?;
    for version in bmdb.migrate().await.map_err(Failure::check)? {
        println!("applied {version}");
    }
    Ok(())
}

/// Takes what the URL leaves out from the environment, as every program for people does.
fn config(url: &str) -> Config {
    Config::new(url)
        .fill_from_env()
        .component("xtask migrate")
        .janitor_interval(None)
}

pub(super) async fn show(url: &str) -> Done {
    let status = migration::status(&mut connect(url).await?).await;
    for migration in status.map_err(Failure::check)? {
        let state = match (migration.applied, migration.known) {
            (true, true) => "applied",
            (true, false) => "applied, by a newer release or another program",
            (false, _) => "pending",
        };
        println!("{}  {state}", migration.name);
    }
    Ok(())
}

pub(super) async fn connect(url: &str) -> Result<AsyncPgConnection, Failure> {
    let connected = config(url).connect().await;
    connected.map_err(|error| Failure::check(format!("cannot connect: {error}")))
}
