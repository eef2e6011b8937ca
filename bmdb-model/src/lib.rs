//! The Bare Metal Database's PostgreSQL schema, rows and statements.
//!
//! A concept is a module: its table in [`schema`], its row struct, and the functions that read and
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
//! let mut conn = db.connect().await?; // an AsyncPgConnection, in a transaction for real use
//! let id = MachineId::random();
//! machine::create(&mut conn, &[id]).await?;
//! machine::touch(&mut conn, &[id]).await?; // before tags are written
//! provided::set(&mut conn, id, &Provided::new(Provider::EQUINIX, "8d2b1f0c")).await?;
//! plan::replan(&mut conn, &[id]).await?; // after they are
//!
//! let of_equinix = provided::by_provider(&mut conn, &Provider::EQUINIX).await?;
//! assert_eq!(of_equinix[0].machine_id, id);
//! # Ok(())
//! # }
//! ```
//!
//! Functions that must run inside a transaction of a session say so; sessions, transactions and
//! retries themselves are `bmdb-core`'s.

pub mod agent;
pub mod attempt_counts;
pub mod backoff;
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
pub mod provided;
pub mod reclaim;
pub mod retrieval;
pub mod schema;
pub mod session;
pub mod tag;
pub mod work;

mod error;
mod id_prefix;
mod ids;
mod names;
mod page;
mod statement;
mod text_enum;

pub use agent::{AgentHeartbeat, AgentStarted};
pub use error::{Error, ErrorKind};
pub use id_prefix::{IdPrefix, InvalidPrefix};
pub use ids::{Fence, InvalidId, MachineId, SessionId};
pub use names::{InvalidName, Lane, Process, Provider};
pub use page::{InvalidKey, Page};
pub use process::ProcessDef;
pub use provided::{Provided, ProvidedMachine, ProviderStatus};
pub use text_enum::UnknownName;
