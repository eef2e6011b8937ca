//! `bmdb migrate`: the database's schema, and who may do what in it.

mod status;

use crate::context::Context;
use crate::failure::Failure;
use clap::Subcommand;

/// Set up, upgrade or look at the database's schema.
#[derive(Subcommand)]
pub(crate) enum Migrate {
    Status(status::Status),
}

impl Migrate {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Status(status) => status.run(context).await,
        }
    }
}
