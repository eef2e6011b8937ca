//! `bmdb migrate`: the database's schema, and who may do what in it.

mod down;
mod grants;
mod status;
mod up;

use crate::context::Context;
use crate::failure::Failure;
use bmdb_model::migration;
use clap::Subcommand;
use serde::Serialize;

/// Set up, upgrade or look at the database's schema.
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

/// A migration by its version, and by the name of its folder where this release knows that.
#[derive(Serialize)]
struct Named {
    version: String,
    name: String,
}

fn named(versions: Vec<String>) -> Vec<Named> {
    let known = migration::known();
    let name = |version: &String| {
        let found = known.iter().find(|(known, _)| known == version);
        found.map_or_else(|| version.clone(), |(_, name)| name.clone())
    };
    versions
        .into_iter()
        .map(|version| Named {
            name: name(&version),
            version,
        })
        .collect()
}
