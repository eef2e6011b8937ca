//! A migrated PostgreSQL database of its own for every test, on an ephemeral server, with time that
//! can be moved.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), bmdb_testkit::TestkitError> {
//! use bmdb_testkit::TestDb;
//! use std::time::Duration;
//!
//! let db = TestDb::new().await?; // migrated, and only for this test
//! db.run_sql("INSERT INTO machines (machine_id) VALUES (gen_random_uuid())").await?;
//!
//! db.advance(Duration::from_secs(3600)).await?; // instead of sleeping
//!
//! let old = "SELECT count(*) FROM machines WHERE machine_created_at < now() - interval '59 min'";
//! assert_eq!(db.rows(old).await?, ["1"]);
//! # Ok(())
//! # }
//! ```

pub mod audit;

mod blocking;
mod cache;
mod catalog;
mod command;
mod connect;
mod copy;
mod database;
mod dead_servers;
mod error;
mod fetch;
mod file_lock;
mod fixture;
mod hash;
mod id;
mod installation;
mod installed;
mod lease;
mod locale;
mod lock;
mod lookup;
mod manager;
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
mod tcp;
mod template;
mod time;
mod timeout;
mod url;
mod wait;

pub use cache::cache_dir;
pub use catalog::catalog;
pub use database::TestDb;
pub use error::TestkitError;
pub use fetch::{Client, Fetched, fetch};
pub use fixture::NewMachine;
pub use installation::Installation;
pub use installed::{fetched, installed};
pub use lookup::{Lookup, LookupResult, Places, TriedPlace};
pub use os_user::OsUser;
pub use profile::Profile;
pub use proxy::{Loss, Proxy};
pub use role::Role;
pub use server::Server;
pub use standby::Replication;
pub use tcp::Tcp;
pub use template::Template;
