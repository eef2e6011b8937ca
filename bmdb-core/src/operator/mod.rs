//! Operator actions: changes by hand, each with an audit record of who made it and why, in one transaction.
//!
//! This room stands above `bmdb.rs`.
//!
//! ```
//! # use bmdb_core::{Bmdb, Config, SessionOptions};
//! # use bmdb_testkit::TestDb;
//! use bmdb_core::operator::Operator;
//! use bmdb_model::history::{self, Entry};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = TestDb::new().await?;
//! # let bmdb = Bmdb::connect(Config::new(db.url()).component("desk")).await?;
//! # let session = bmdb.start_session(SessionOptions::default()).await?;
//! # let machine = session.transact(async |tx| tx.create_machine().await).await?;
//! let ann = Operator::new("ann@desk").reason("a fan is broken");
//! ann.hold(&session, machine).await?;
//!
//! # let mut conn = db.connect().await?;
//! let page = history::page(&mut conn, machine, None, None, 10).await?;
//! let [Entry::Action(action)] = &page.rows[..] else { panic!() };
//! assert_eq!((action.verb.as_str(), action.operator.as_str()), ("HoldMachine", "ann@desk"));
//! # Ok(())
//! # }
//! ```
//!
//! An action whose result is already there changes nothing and leaves no audit record: a hold for the same
//! reason, or the release of a machine that is not on hold. Setting a tag always writes it.

pub mod explain;

mod audit;
mod backoffs;
mod error;
mod machines;
#[allow(clippy::module_inception, reason = "the file is named after its type")]
mod operator;
mod pause_options;
mod processes;
mod sessions;
mod tags;
mod values;

pub use error::OperatorError;
pub use operator::Operator;
pub use pause_options::PauseOptions;
pub use processes::{Paused, Resumed};
pub use sessions::EndedSession;
pub use values::{Field, InvalidTag, ProvidedChange, Tag, fields};
