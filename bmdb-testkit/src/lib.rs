//! A migrated PostgreSQL database of its own for every test, on an ephemeral server, with time
//! that can be moved.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), bmdb_testkit::TestkitError> {
//! use bmdb_testkit::TestDb;
//! use std::time::Duration;
//!
//! let db = TestDb::new().await?; // migrated, and nobody else's
//! db.execute("INSERT INTO machines (machine_id) VALUES (gen_random_uuid())").await?;
//!
//! db.advance(Duration::from_secs(3600)).await?; // instead of sleeping
//!
//! let old = "SELECT count(*) FROM machines WHERE machine_created_at < now() - interval '59 min'";
//! assert_eq!(db.rows(old).await?, ["1"]);
//! # Ok(())
//! # }
//! ```

pub mod audit;

mod cache;
mod catalog;
mod command;
mod copy;
mod database;
mod error;
mod fetch;
mod fixture;
mod hash;
mod id;
mod installation;
mod installed;
mod lease;
mod limit;
mod lookup;
mod os_user;
mod profile;
mod proxy;
mod role;
mod running;
mod seed;
mod server;
mod shared;
mod socket;
mod standby;
mod supervisor;
mod sweep;
mod tcp;
mod template;
mod time;
mod url;

pub use cache::cache_dir;
pub use catalog::catalog;
pub use database::TestDb;
pub use error::TestkitError;
pub use fetch::{Client, Fetched, fetch};
pub use fixture::NewMachine;
pub use installation::Installation;
pub use installed::{fetched, installed};
pub use lookup::{Attempt, Lookup, Places, Verdict};
pub use os_user::Account;
pub use profile::Profile;
pub use proxy::{Loss, Proxy};
pub use role::Role;
pub use server::Server;
pub use standby::Replication;
pub use tcp::Tcp;
pub use template::Template;
