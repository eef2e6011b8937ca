//! Racks of machines: which machine stands where, and a control loop that puts a rack into service.
//!
//! An example of a crate with tables of its own beside bmdb's, in the same database.

pub mod commission;
pub mod rack;
pub mod schema;

use bmdb_core::{Bmdb, Config};
use bmdb_model::migration;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

/// Whatever went wrong.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The migrations of this crate's own tables. Diesel's command line makes new ones:
/// `diesel migration generate NAME`.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Brings a database up to date: bmdb's tables first, for ours refer to them. Call it from a
/// deployment, or at every start; concurrent callers take turns.
pub async fn migrate(url: &str) -> Result<(), Error> {
    let bmdb = Bmdb::connect(Config::new(url).component("racks-migrate")).await?;
    bmdb.migrate().await?;
    let conn = AsyncPgConnection::establish(url).await?;
    migration::run_all_of(conn, MIGRATIONS).await?;
    Ok(())
}
