//! `bmdb migrate status`: the applied and the pending migrations.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Tone, answer};
use bmdb_model::migration::{self, MigrationStatus};
use serde::Serialize;

/// List the migrations and whether they are applied.
///
/// This works on every database, also on an empty one. The last line, and `fits` in JSON, says whether this
/// program can work with the database.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb migrate status
  bmdb migrate status --json | jq -e .fits    exit code 0 if the database fits")]
pub(crate) struct Status {}

#[derive(Serialize)]
struct Answer {
    /// Whether this program can work with the database.
    fits: bool,
    /// Why it does not fit.
    problem: Option<String>,
    migrations: Vec<Migration>,
}

answer! {
    struct Migration from status: MigrationStatus {
        version: String = status.version,
        name: String = status.name,
        state: State = match (status.applied, status.known) {
            (false, _) => State::Pending,
            (true, true) => State::Applied,
            (true, false) => State::Unknown,
        },
    }
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Applied,
    Pending,
    /// Applied by a newer release or by another program.
    Unknown,
}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        context.output.report(&read(context).await?)
    }
}

/// Reads the migrations. It connects directly, because a reader refuses a database without the schema.
async fn read(context: &Context) -> Result<Answer, Failure> {
    let connected = context.config().connect().await;
    let mut conn = connected.map_err(|error| context.explain(error))?;
    let migrations = migration::status(&mut conn).await?;
    let problem = migration::check(&mut conn).await.err();
    Ok(Answer {
        fits: problem.is_none(),
        problem: problem.map(|problem| problem.to_string()),
        migrations: migrations.into_iter().map(Migration::from).collect(),
    })
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let mut table = Table::new(["MIGRATION", "STATE"]);
        for migration in &self.migrations {
            table.row([Cell::new(&migration.name), state(migration.state)]);
        }
        page.table(table);
        page.blank();
        match &self.problem {
            None => page.line("This program can work with the database."),
            Some(problem) => {
                page.painted_line(Tone::Warn, problem);
            }
        }
    }
}

fn state(state: State) -> Cell {
    match state {
        State::Applied => Cell::new("applied").tone(Tone::Good),
        State::Pending => Cell::new("pending").tone(Tone::Warn),
        State::Unknown => Cell::new("applied by a newer release or another program"),
    }
}
