//! The Bare Metal Database's PostgreSQL schema, rows and statements.
//!
//! Each concept has a module: its table in [`schema`], its row struct, and the functions that read and
//! write it. For the tag `machine_provided` that is [`provided`]: the table
//! [`schema::machine_provided`], the row [`ProvidedMachine`] with the tag's contents [`Provided`],
//! and functions that take a connection:
//!
//! ```
//! use bmdb_model::{MachineId, Provided, Provider, machine, plan, provided};
//! # use bmdb_testkit::TestDb;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = TestDb::new().await?;
//! let mut conn = db.connect().await?; // an AsyncPgConnection; use a transaction in production
//! let id = MachineId::random();
//! machine::create(&mut conn, &[id]).await?;
//! machine::touch(&mut conn, &[id]).await?; // before writing tags
//! let site = Provider::from_static("fra1");
//! provided::set(&mut conn, id, &Provided::new(site.clone(), "rack-a-07")).await?;
//! plan::replan(&mut conn, &[id]).await?; // after writing tags
//!
//! let in_site = provided::by_provider(&mut conn, &site).await?;
//! assert_eq!(in_site[0].machine_id, id);
//! # Ok(())
//! # }
//! ```
//!
//! Sessions, transactions and retries are in `bmdb-core`.
//!
//! # Stability
//! - **Stable:** the types, tags, lists and reads of this crate's public modules, [`migration`] and
//!   [`grants`]. Rows and enums that may grow are `#[non_exhaustive]`: build the ones that you write
//!   with their constructors.
//! - **Unstable:** [`internal`] has the statements that only `bmdb-core` runs. They may change in any
//!   release.
//!
//! # Names
//! Structs that mirror a table or view ([`ProvidedMachine`], [`backoff::BackoffRow`],
//! [`history::HistoryEvent`]) have its column names, such as `machine_id`. Everywhere else the fields and
//! arguments that identify a machine or a session are called `machine` and `session`.
//!
//! # Features
//! - `serde`: `Serialize` for ids, names, rows and summaries, `Deserialize` for ids and names.
//!
//! The crates [`diesel`], [`diesel_async`] and [`diesel_migrations`] are re-exported, because their types
//! are part of this crate's API: with the re-exports you use the same versions.

pub mod agent;
pub mod attempt_counts;
pub mod backoff;
pub mod column;
pub mod connection;
pub mod counts;
pub mod custom_tags;
pub mod fleet;
pub mod gates;
pub mod grants;
pub mod hardware;
pub mod history;
pub mod hold;
pub mod internal;
pub mod machine;
pub mod maintenance;
pub mod migration;
pub mod operator;
pub mod os_installation;
pub mod overview;
pub mod plan;
pub mod process;
pub mod process_control;
pub mod provided;
pub mod reclaim;
pub mod retrieval;
pub mod schema;
pub mod session;
pub mod tag;
pub mod tag_writes;
pub mod text;
pub mod time;
pub mod work;

mod encoding;
mod error;
mod id_prefix;
mod ids;
mod names;
mod page;
mod rows;
#[cfg(feature = "serde")]
mod serde_text;
mod statement;
mod text_enum;

pub use agent::{AgentHeartbeat, AgentStarted};
pub use diesel;
pub use diesel_async;
pub use diesel_migrations;
pub use encoding::NotUtf8;
pub use error::{Error, ErrorKind};
pub use id_prefix::{IdPrefix, InvalidPrefix};
pub use ids::{Fence, InvalidFence, InvalidId, MachineId, SessionId};
pub use names::{InvalidName, Lane, Process, Provider};
pub use page::{InvalidKey, Page};
pub use process::ProcessDef;
pub use provided::{Provided, ProvidedMachine, ProviderStatus};
pub use tag_writes::TagWrites;
pub use text_enum::UnknownName;
