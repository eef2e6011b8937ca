//! `bmdb migrate down`: reverts the newest migrations.

use super::named::{Named, named};
use crate::confirm::Confirm;
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Page, Report};
use bmdb_model::migration;
use serde::Serialize;

/// Revert the newest migrations, and drop the contents of their tables.
///
/// Use this to go back to the previous release, after the components of this release were stopped or
/// replaced. Make a backup first.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb migrate down            revert the newest migration after confirmation
  bmdb migrate down 2 --yes    revert the newest two without confirmation")]
pub(crate) struct Down {
    /// How many migrations to revert.
    #[arg(default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    count: u16,
    #[command(flatten)]
    confirm: Confirm,
}

#[derive(Serialize)]
struct Answer {
    reverted: Vec<Named>,
}

impl Down {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let connected = context.config().connect().await;
        let mut conn = connected.map_err(|error| context.explain(error))?;
        let applied = migration::status(&mut conn).await?.into_iter();
        let applied = applied.filter(|migration| migration.applied).rev();
        let newest = applied.take(self.count.into());
        let (names, versions): (Vec<String>, Vec<String>) =
            newest.map(|m| (m.name, m.version)).unzip();
        if names.is_empty() {
            return Err(Failure::usage("the database has no migration to revert"));
        }
        let question = format!(
            "Revert {} and drop the contents of their tables",
            names.join(", ")
        );
        self.confirm.ask(&question).await?;
        let reverted = migration::revert_these(conn, versions).await?;
        context.output.report(&Answer {
            reverted: named(reverted),
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        for migration in &self.reverted {
            page.line(format_args!("reverted {}", migration.name));
        }
    }
}
