//! Statements that only `bmdb-core` runs. **Unstable:** they may change in any release, without notice.
//!
//! Claims, ends, sessions, transactions, planning and maintenance depend on each other's locks and on
//! the order in which they run. `bmdb-core` knows that order; other callers use its API.

pub mod agent;
pub mod attempt_counts;
pub mod backoff;
pub mod connection;
pub mod history;
pub mod items_lock;
pub mod machine;
pub mod maintenance;
pub mod notify;
pub mod operator;
pub mod overlong;
pub mod plan;
pub mod process_control;
pub mod provided;
pub mod reclaim;
pub mod session;
pub mod set_back;
pub mod sqlstate;
pub mod statement_effect;
pub mod tag_writes;
pub mod work;
