//! Sessions, exclusive work and exponential backoff for control loops over bare-metal machines.

mod bmdb;
mod chores;
mod claim;
mod config;
mod connect;
mod end;
mod error;
#[cfg(feature = "fleet")]
pub mod fleet;
mod heartbeat;
mod holdings;
mod janitor;
mod lease;
mod pool;
mod session;
mod start;
mod tags;
mod transaction;
mod work;

pub use bmdb::Bmdb;
pub use bmdb_model::connection::{Access, Isolation};
pub use claim::Claim;
pub use config::{Config, History};
pub use end::{EndError, Failed};
pub use error::{ConnectError, SessionError, TxError, WorkError};
pub use janitor::Losses;
pub use lease::SessionState;
pub use session::{Session, SessionOptions};
pub use transaction::{Tx, TxFn, TxOptions};
pub use work::Work;
