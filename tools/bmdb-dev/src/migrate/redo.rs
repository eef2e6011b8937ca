//! `cargo xtask migrate redo`: reverts and reapplies the newest migrations while they are being written.

use super::target::{Target, apply, connect, on, show};
use bmdb_model::migration;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::catalog;

#[derive(Debug, clap::Args)]
pub(super) struct Redo {
    /// Number of migrations.
    #[arg(default_value_t = 1)]
    count: usize,
    /// Confirm that the contents of the database given by --database-url may be lost.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(redo: &Redo) -> Done {
    let is_temporary = redo.target.database_url.is_none();
    if !is_temporary && !redo.yes {
        return Err(Failure::usage(
            "reverting drops tables and their contents: add --yes to confirm",
        ));
    }
    on(&redo.target, async |url| {
        if is_temporary {
            apply(url).await?;
        }
        let before = catalog(url).await.map_err(Failure::check)?;
        let reverted = migration::revert_last(connect(url).await?, redo.count).await;
        for version in reverted.map_err(Failure::check)? {
            println!("reverted {version}");
        }
        apply(url).await?;
        if catalog(url).await.map_err(Failure::check)? != before {
            // An earlier text of the same migration may have made the schema.
            println!("the schema differs from the one before");
        }
        show(url).await
    })
}
