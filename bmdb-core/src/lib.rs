//! Sessions, exclusive work and exponential backoff for control loops over bare-metal machines.
//!
//! A component connects, starts a session and claims machines that are due for a process. A claim outlives
//! transactions and ends exactly once.
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
//! #     tx.set_provided(machine, &Provided::new(Provider::from_static("fra1"), "rack-a-07")).await
//! # }).await?;
//!
//! let claimed = session.claim(&Claim::of(&Process::SHEPHERD_AGENT_START)).await?;
//! # assert_eq!(claimed.len(), 1);
//! for work in claimed {
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
//! Use a [`Poller`] to wait for due machines, or a [`control_loop`].
//!
//! The source is divided into rooms, from the bottom: `error`, `fleet` and `lock`; `db`; `telemetry`;
//! `session`; `work`; `maintenance`; `bmdb` and `reader`; `operator` and `control_loop`. No file imports a
//! room above its own, except the facade `session::session`, which stands above `work`.

mod bmdb;
pub mod control_loop;
mod db;
mod error;
#[cfg(feature = "fleet")]
pub mod fleet;
mod lock;
mod maintenance;
pub mod operator;
mod reader;
mod session;
pub mod telemetry;
mod work;

pub use bmdb::Bmdb;
pub use bmdb_model::connection::{Access, Isolation};
pub use bmdb_model::history::Retention;
pub use db::config::{Config, HistoryDetail};
pub use db::migrate::MigrateOptions;
pub use db::transaction::TxOptions;
pub use db::tx::Tx;
pub use db::tx_fn::{ConnBody, TxBody};
pub use db::url::{DatabaseUrl, UrlError};
pub use error::{ConnectError, SessionError, TxError, WorkError};
pub use maintenance::batch::MaintenanceBatch;
pub use maintenance::dry_run::{DryRun, ExpiredWork, NextBatch};
pub use maintenance::janitor::JanitorReport;
pub use maintenance::reclaim::Reclaimed;
pub use reader::Reader;
pub use session::Session;
pub use session::lease::SessionState;
pub use session::listening::AgentListener;
pub use session::options::SessionOptions;
pub use work::Work;
pub use work::claim::Claim;
pub use work::end_error::{EndError, FailureRecorded};
pub use work::poll_options::PollOptions;
pub use work::poller::Poller;

#[cfg(doctest)]
#[doc = include_str!("guide.md")]
struct LibraryGuide;

#[cfg(doctest)]
#[doc = include_str!("project.md")]
struct Readme;
