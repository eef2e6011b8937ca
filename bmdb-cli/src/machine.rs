//! `bmdb machine`: the machines of the fleet.

mod create;
mod hold;
mod import;
mod list;
mod on_hold;
mod show;
mod tags;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// Import, list, show, hold or delete machines.
#[derive(Subcommand)]
pub(crate) enum Machine {
    Import(import::Import),
    Create(create::Create),
    List(list::ListMachines),
    Show(show::Show),
    Hold(hold::Hold),
    Release(hold::Release),
    Delete(hold::Delete),
}

impl Machine {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Import(import) => import.run(context).await,
            Self::Create(create) => create.run(context).await,
            Self::List(list) => list.run(context).await,
            Self::Show(show) => show.run(context).await,
            Self::Hold(hold) => hold.run(context).await,
            Self::Release(release) => release.run(context).await,
            Self::Delete(delete) => delete.run(context).await,
        }
    }
}
