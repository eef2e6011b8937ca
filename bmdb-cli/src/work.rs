//! `bmdb work`: claimed work, and taking it from its session.

pub(crate) mod list;
mod release;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// List claimed work, or release work that is stuck.
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
}
