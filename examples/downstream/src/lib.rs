//! Racks of machines: where each machine is, and control loops that commission a rack and install the
//! firmware that operators want.
//!
//! An example of a crate with its own tables, tags and process in the same database as bmdb's.

pub mod commission;
pub mod firmware;
pub mod flash;
pub mod rack;
pub mod schema;

use bmdb_core::{Bmdb, Config};
use bmdb_model::process;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

/// Any error.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The migrations of this crate's own tables. `diesel migration generate NAME` creates a new one.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Migrates a database: bmdb's tables first, because ours refer to them, then ours; then it defines our
/// process. Call it from a deployment, or at every start. Concurrent calls run one after the other.
pub async fn migrate(url: &str) -> Result<(), Error> {
    let bmdb = Bmdb::connect(Config::new(url).component("racks-migrate")).await?;
    bmdb.migrate().await?;
    let applied = bmdb.migrate_with_source(MIGRATIONS).await?;

    // `define_process` checks the definition before any program uses it, and then replans the whole
    // fleet, including machines that are being written now. A row inserted by a migration would not do
    // that, and a start should not do it every time. After a migration the view may have changed, so
    // the fleet is replanned then as well.
    let definition = firmware::definition();
    let mut conn = AsyncPgConnection::establish(url).await?;
    let known = process::of(&mut conn, &definition.process).await?;
    if !applied.is_empty() || known != definition {
        bmdb.define_process(&definition).await?;
    }
    Ok(())
}
