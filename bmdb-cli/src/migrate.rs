//! `bmdb migrate`: the database's schema and privileges.

mod down;
mod grants;
mod named;
mod status;
mod up;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// Set up, upgrade or check the database's schema.
#[derive(Subcommand)]
pub(crate) enum Migrate {
    Status(status::Status),
    Up(up::Up),
    Down(down::Down),
    Grants(grants::Grants),
}

impl Migrate {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Status(status) => status.run(context).await,
            Self::Up(up) => up.run(context).await,
            Self::Down(down) => down.run(context).await,
            Self::Grants(grants) => grants.run(context).await,
        }
    }
}
