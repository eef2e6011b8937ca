//! `bmdb work`: what is being done now, and taking it from its holder.

pub(crate) mod list;
mod release;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// List what is being done, release what is stuck.
#[derive(Subcommand)]
pub(crate) enum Work {
    List(list::ListArgs),
    Release(release::Release),
}

impl Work {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::List(list) => list.run(context).await,
            Self::Release(release) => release.run(context).await,
        }
    }

    /// Whether it goes on until Ctrl-C.
    pub(crate) const fn is_watching(&self) -> bool {
        match self {
            Self::List(list) => list.watch.is_on(),
            Self::Release(_) => false,
        }
    }
}
