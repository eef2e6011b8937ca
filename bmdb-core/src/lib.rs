//! Sessions, exclusive work and exponential backoff for control loops over bare-metal machines.
//!
//! A component connects, starts a session and claims machines that are due for a process. The hold
//! on a machine outlives transactions and ends exactly once.
//!
//! ```
//! # use bmdb_testkit::TestDb;
//! # use bmdb_model::{Provided, Provider};
//! use bmdb_backoff::Backoff;
//! use bmdb_core::{Bmdb, Claim, Config, SessionOptions};
//! use bmdb_model::{AgentStarted, Process};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = TestDb::new().await?;
//! # let url = db.url();
//! let bmdb = Bmdb::connect(Config::new(url).component("agent-starter")).await?;
//! let session = bmdb.start_session(SessionOptions::default()).await?;
//! # session.transact(async |tx| {
//! #     let machine = tx.create_machine().await?;
//! #     tx.set_provided(machine, &Provided::new(Provider::EQUINIX, "1")).await
//! # }).await?;
//!
//! let works = session.claim(&Claim::of(&Process::SHEPHERD_AGENT_START)).await?;
//! # assert_eq!(works.len(), 1);
//! for work in works {
//!     let machine = work.machine();
//!     let reachable = true; // … act on the machine …
//!     if reachable {
//!         let started = AgentStarted::now(b"the agent's key");
//!         work.finish(async |tx| tx.set_agent_started(machine, &started).await).await?;
//!     } else {
//!         let retry: Backoff = "initial=1m,max=4h,factor=2".parse()?;
//!         work.fail(&retry, "no answer on port 22").await?;
//!     }
//! }
//! session.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! A loop that waits for machines takes a [`Poller`] instead of claiming again and again.

mod agents;
mod batch;
mod bmdb;
mod chores;
mod chunk;
mod claim;
mod close;
mod component;
mod config;
mod connect;
pub mod control_loop;
mod drain;
mod end;
mod error;
#[cfg(feature = "fleet")]
pub mod fleet;
mod floors;
mod heartbeat;
mod holdings;
mod janitor;
mod lease;
mod loss;
mod migrate;
pub mod operate;
mod passfile;
mod patience;
mod poller;
mod pool;
mod preview;
mod progress;
#[cfg(test)]
mod protocol;
mod reader;
mod rearm;
mod retry;
mod session;
mod start;
mod tags;
mod tally;
pub mod telemetry;
mod terms;
mod tls;
mod together;
mod transaction;
mod upkeep;
mod url;
mod wake;
mod work;

pub use bmdb::Bmdb;
pub use bmdb_model::connection::{Access, Isolation};
pub use bmdb_model::history::Retention;
pub use chunk::Chunk;
pub use claim::Claim;
pub use config::{Config, History};
pub use end::{EndError, Failed};
pub use error::{ConnectError, SessionError, TxError, WorkError};
pub use janitor::Turn;
pub use lease::SessionState;
pub use loss::Losses;
pub use migrate::MigrateOptions;
pub use poller::{PollOptions, Poller};
pub use preview::{LostWork, NextChunk, Preview};
pub use reader::Reader;
pub use session::Session;
pub use terms::SessionOptions;
pub use transaction::{Tx, TxFn, TxOptions};
pub use url::{DatabaseUrl, UrlError};
pub use work::Work;

#[cfg(doctest)]
#[doc = include_str!("guide.md")]
struct LibraryGuide;

#[cfg(doctest)]
#[doc = include_str!("project.md")]
struct Readme;
