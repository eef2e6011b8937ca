//! `bmdb backoff`: backoffs after failures, and changing them.

mod change;
mod list;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// List, clear or shorten backoffs after failures.
#[derive(Subcommand)]
pub(crate) enum Backoff {
    List(list::ListArgs),
    /// Clear a backoff, and restart its sequence.
    ///
    /// The machine is due at once if its tags call for the process. Its next failure is the first of a new
    /// sequence.
    Clear(change::Change),
    /// End a backoff now, and keep its sequence.
    ///
    /// The machine is due at once if its tags call for the process. After another failure the next interval
    /// is longer than the last.
    RetryNow(change::Change),
}

impl Backoff {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Clear(change) => change.clear(context).await,
            Self::RetryNow(change) => change.retry_now(context).await,
        }
    }
}
