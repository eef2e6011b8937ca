//! `cargo xtask migrate grants`: the roles, and what each of them may do in a database.

use super::{Target, apply, connect, on};
use crate::shell::{Done, Failure};
use bmdb_model::grants;

/// Set up the roles bmdb_owner, bmdb_component and bmdb_viewer in a database.
///
/// As often as you like: what is there already stays. Tables and views become bmdb_owner's, and nobody
/// but members of the three roles may connect any more. Needs a superuser, or the owner of the database,
/// its schema and its tables with CREATEROLE.
#[derive(Debug, clap::Args)]
pub(super) struct Grants {
    /// Print the SQL, for reading or for psql, and change nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) fn run(Grants { dry_run, target }: &Grants) -> Done {
    on(target, async |url| {
        if target.database_url.is_none() {
            apply(url).await?;
        }
        if *dry_run {
            return print(url).await;
        }
        let done = grants::apply(&mut connect(url).await?).await;
        let done = done.map_err(Failure::check)?;
        println!(
            "{} statements ran; --dry-run prints them. Logins are yours to make, and those that \
             were there need a role now: GRANT {} TO …, GRANT {} TO …",
            done.len(),
            grants::COMPONENT,
            grants::VIEWER
        );
        Ok(())
    })
}

async fn print(url: &str) -> Done {
    let statements = grants::statements(&mut connect(url).await?).await;
    for statement in statements.map_err(Failure::check)? {
        println!("{statement};");
    }
    Ok(())
}
