//! `bmdb backoff`: what rests, until when and why, and changing that.

mod change;
mod list;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// List what rests after failures, clear a backoff, cut one short.
#[derive(Subcommand)]
pub(crate) enum Backoff {
    List(list::ListArgs),
    /// Delete a backoff: the machine is tried at once, and the next failure begins the sequence anew.
    Clear(change::Change),
    /// End a backoff now: the machine is tried at once, and the next failure goes on with the sequence.
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

    /// Whether it goes on until Ctrl-C.
    pub(crate) const fn is_watching(&self) -> bool {
        match self {
            Self::List(list) => list.watch.is_on(),
            Self::Clear(_) | Self::RetryNow(_) => false,
        }
    }
}
