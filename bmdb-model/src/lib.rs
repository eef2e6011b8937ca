//! The Bare Metal Database's PostgreSQL schema, rows and statements.

pub mod agent;
pub mod backoff;
pub mod connection;
pub mod counts;
pub mod hardware;
pub mod history;
pub mod hold;
pub mod loss;
pub mod machine;
pub mod migration;
pub mod os_installation;
pub mod plan;
pub mod process;
pub mod provided;
pub mod retrieval;
pub mod schema;
pub mod session;
pub mod work;

mod error;
mod ids;
mod names;
mod statement;
mod text_enum;

pub use agent::AgentStarted;
pub use error::{Error, Failure, classify};
pub use ids::{Fence, InvalidId, MachineId, SessionId};
pub use names::{InvalidName, Lane, Process, Provider};
pub use process::ProcessDef;
pub use provided::{Provided, ProvidedMachine, ProviderStatus};
