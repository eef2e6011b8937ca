//! `bmdb machine`: the fleet, and one machine of it.

mod create;
mod hold;
mod import;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// Bring machines in, look at them, put them on hold, delete them.
#[derive(Subcommand)]
pub(crate) enum Machine {
    Import(import::Import),
    Create(create::Create),
    Hold(hold::Hold),
    Release(hold::Release),
    Delete(hold::Delete),
}

impl Machine {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Import(import) => import.run(context).await,
            Self::Create(create) => create.run(context).await,
            Self::Hold(hold) => hold.run(context).await,
            Self::Release(release) => release.run(context).await,
            Self::Delete(delete) => delete.run(context).await,
        }
    }
}
