//! Migrations by version and name.

use bmdb_model::migration;
use serde::Serialize;

#[derive(Serialize)]
pub(super) struct Named {
    version: String,
    /// The name of the migration's folder; the version if this release does not know the migration.
    pub(super) name: String,
}

pub(super) fn named(versions: Vec<String>) -> Vec<Named> {
    let known = migration::known();
    let name = |version: &String| {
        let found = known.iter().find(|(known, _)| known == version);
        found.map_or_else(|| version.clone(), |(_, name)| name.clone())
    };
    let versions = versions.into_iter();
    let named = versions.map(|version| Named {
        name: name(&version),
        version,
    });
    named.collect()
}
