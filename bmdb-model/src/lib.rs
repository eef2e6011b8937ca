//! The Bare Metal Database's PostgreSQL schema, rows and statements.

pub mod migration;

mod ids;
mod names;

pub use ids::{Fence, InvalidId, MachineId, SessionId};
pub use names::{InvalidName, Lane, Process, Provider};
