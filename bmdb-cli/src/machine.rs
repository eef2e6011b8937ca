//! `bmdb machine`: the fleet, and one machine of it.

mod create;
mod hold;
mod import;
mod list;
mod show;
mod tags;

use crate::context::Context;
use crate::failure::Failure;
use crate::output::Time;
use clap::Subcommand;
use serde::Serialize;

/// Bring machines in, look at them, put them on hold, delete them.
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

    pub(crate) const fn watches(&self) -> bool {
        match self {
            Self::List(list) => list.watch.is_on(),
            Self::Show(show) => show.watch.is_on(),
            _ => false,
        }
    }
}

/// A hold on a machine.
#[derive(Serialize)]
struct Hold {
    reason: String,
    since: Time,
}

impl From<bmdb_model::hold::Hold> for Hold {
    fn from(hold: bmdb_model::hold::Hold) -> Self {
        Self {
            reason: hold.reason,
            since: Time(hold.since),
        }
    }
}
