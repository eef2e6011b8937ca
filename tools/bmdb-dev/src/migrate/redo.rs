//! `cargo xtask migrate redo`: the newest migrations down and up again, while they are being written.

use super::target::{Target, apply, connect, on, show};
use bmdb_model::migration;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::catalog;

#[derive(Debug, clap::Args)]
pub(super) struct Redo {
    /// How many.
    #[arg(default_value_t = 1)]
    count: usize,
    /// Really drop the contents of a database that is no throw-away.
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(redo: &Redo) -> Done {
    let throw_away = redo.target.database_url.is_none();
    if !throw_away && !redo.yes {
        return Err(Failure::usage(
            "reverting drops tables with what they contain: add --yes if that is meant",
        ));
    }
    on(&redo.target, async |url| {
        if throw_away {
            apply(url).await?;
        }
        let before = catalog(url).await.map_err(Failure::check)?;
        let reverted = migration::revert_last(connect(url).await?, redo.count).await;
        for version in reverted.map_err(Failure::check)? {
            println!("reverted {version}");
        }
        apply(url).await?;
        if catalog(url).await.map_err(Failure::check)? != before {
            // It may have been migrated by an earlier text of the same migration.
            println!("the schema is not the same as before");
        }
        show(url).await
    })
}
