//! `bmdb migrate up`: applies the pending migrations while the fleet is working.

use super::named::{Named, named};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Page, Report};
use crate::watch::interval;
use bmdb_backoff::Seconds;
use bmdb_core::MigrateOptions;
use bmdb_model::migration::note;
use serde::Serialize;

/// Apply the pending migrations, or set up an empty database.
///
/// Control loops of the previous release can continue meanwhile. A migration that cannot lock a table is
/// rolled back and tried again later, so that no other query queues behind it; standard error names the
/// session that blocks it. If a migration is pending, the login must be a member of bmdb_owner or own the
/// schema.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb migrate up
  bmdb migrate up --give-up-after 1h    in a fleet that is never idle

Exit codes: 4 other sessions held locks for too long, 6 the database is newer than this program,
7 the login may not change the schema")]
pub(crate) struct Up {
    /// How long to try while other sessions hold locks.
    #[arg(long, value_name = "INTERVAL", default_value = "5m", value_parser = interval)]
    give_up_after: Seconds,
    /// How long each try waits for a lock. Other queries on the table wait behind it.
    #[arg(long, value_name = "INTERVAL", default_value = "2s", value_parser = interval)]
    lock_timeout: Seconds,
}

#[derive(Serialize)]
struct Answer {
    applied: Vec<Named>,
    /// What an operator should know about them.
    notes: Vec<&'static str>,
}

impl Up {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let options = MigrateOptions::default()
            .give_up_after(self.give_up_after.into())
            .lock_timeout(self.lock_timeout.into());
        let applied = context.bmdb().await?.migrate_with(options).await?;
        context.output.report(&Answer {
            notes: applied.iter().filter_map(|version| note(version)).collect(),
            applied: named(applied),
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        if self.applied.is_empty() {
            page.line("Nothing to do: all migrations of this release are applied.");
        }
        for migration in &self.applied {
            page.line(format_args!("applied {}", migration.name));
        }
        for note in &self.notes {
            page.line(format_args!("note: {note}"));
        }
    }
}
