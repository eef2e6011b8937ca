//! `bmdb migrate up`: applying what the database lacks, while the fleet is at work.

use super::{Named, named};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Page, Report};
use crate::watch::interval;
use bmdb_backoff::Seconds;
use bmdb_core::MigrateOptions;
use serde::Serialize;

/// Apply the migrations that the database lacks; sets up an empty one.
///
/// Control loops of the release before may go on working meanwhile. A migration that cannot lock a table
/// at once is rolled back and tried again later, so that nobody queues up behind it; who is in the way is
/// told on standard error. Where something is to be done, the login must be a member of bmdb_owner, or
/// own the schema.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb migrate up
  bmdb migrate up --give-up-after 1h    in a fleet that is never idle

Exit codes: 4 others were in the way for too long, 6 the database is newer than this program,
7 the login may not change the schema")]
pub(crate) struct Up {
    /// For how long to try while others are in the way.
    #[arg(long, value_name = "INTERVAL", default_value = "5m", value_parser = interval)]
    give_up_after: Seconds,
    /// How long each try waits for a lock, and everybody behind it.
    #[arg(long, value_name = "INTERVAL", default_value = "2s", value_parser = interval)]
    lock_timeout: Seconds,
}

#[derive(Serialize)]
struct Answer {
    applied: Vec<Named>,
}

impl Up {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let options = MigrateOptions::default()
            .give_up_after(self.give_up_after.into())
            .lock_timeout(self.lock_timeout.into());
        let applied = context.bmdb().await?.migrate_with(options).await?;
        context.output.report(&Answer {
            applied: named(applied),
        })
    }
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        if self.applied.is_empty() {
            page.line("Nothing to do: the database has all migrations of this release.");
        }
        for migration in &self.applied {
            page.line(format_args!("applied {}", migration.name));
        }
    }
}
