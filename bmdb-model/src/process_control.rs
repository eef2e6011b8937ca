//! Limits, breakers and pauses: how many machines a process may work on at once, and whether it may start at
//! all.
//!
//! They are enforced by triggers of the table `work_item`, so every way to claim obeys. Here they are read.
//! `bmdb_core`'s `Operator` sets them, with an audit record.

mod breaker;
mod gate;
mod limit;
mod pause;
mod read;
mod scope;

pub use breaker::{Breaker, BreakerState, Failures, InvalidPercent, PartitionNeed, Percent};
pub use gate::{ProcessGate, closed_gates};
pub use limit::{Limit, LimitState, PartitionUse, SlotKind, SlotUse, Starts};
pub use pause::{Pause, PauseSource};
pub use read::{ProcessControl, all, of, pauses};
pub use scope::{Need, RunningAttempt, need, running};

use crate::text_enum::text_enum;

text_enum! {
    /// What a limit or a breaker applies to.
    #[non_exhaustive]
    Per {
        /// The process as a whole.
        Process = "process",
        /// The machines of each provider for themselves.
        Provider = "provider",
    }
}

/// The longest window, in seconds: 31 days.
pub(crate) const LONGEST_WINDOW: i64 = 31 * 86_400;

/// A time in its largest whole unit, as the command line reads it: `90s`, `10m`, `2h`, `7d`.
fn compact(seconds: i64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "m")];
    let fits = |(unit, _): &(i64, &str)| seconds >= *unit && seconds % unit == 0;
    match units.into_iter().find(fits) {
        Some((unit, name)) => format!("{}{name}", seconds / unit),
        None => format!("{seconds}s"),
    }
}
