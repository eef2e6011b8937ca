//! Racks of machines: which machine stands where, and control loops that put a rack into service and
//! keep its firmware as operators want it.
//!
//! An example of a crate with tables, tags and a process of its own beside bmdb's, in the same
//! database.

pub mod commission;
pub mod firmware;
pub mod flash;
pub mod rack;
pub mod schema;

use bmdb_core::{Bmdb, Config};
use bmdb_model::process;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

/// Whatever went wrong.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// The migrations of this crate's own tables. Diesel's command line makes new ones:
/// `diesel migration generate NAME`.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Brings a database up to date: bmdb's tables first, for ours refer to them; then our process. Call it
/// from a deployment, or at every start; concurrent callers take turns.
pub async fn migrate(url: &str) -> Result<(), Error> {
    let bmdb = Bmdb::connect(Config::new(url).component("racks-migrate")).await?;
    bmdb.migrate().await?;
    let applied = bmdb.migrate_with_source(MIGRATIONS).await?;

    // A definition is checked before anybody plans by it, and then the whole fleet is planned, those
    // machines included that are being written just now: more than a row that a migration inserts
    // would bring about, and more than every start should. A view that a migration has changed is
    // planned by as well.
    let definition = firmware::definition();
    let mut conn = AsyncPgConnection::establish(url).await?;
    let known = process::of(&mut conn, &definition.process).await?;
    if !applied.is_empty() || known != definition {
        bmdb.define_process(&definition).await?;
    }
    Ok(())
}
