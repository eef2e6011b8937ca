//! `bmdb machine`: the fleet, and one machine of it.

mod create;
mod import;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// Bring machines in, list them, look at one of them.
#[derive(Subcommand)]
pub(crate) enum Machine {
    Import(import::Import),
    Create(create::Create),
}

impl Machine {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Import(import) => import.run(context).await,
            Self::Create(create) => create.run(context).await,
        }
    }
}
