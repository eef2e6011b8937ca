//! `bmdb migrate status`: which migrations the database has.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Tone};
use bmdb_model::migration::{self, MigrationStatus};
use serde::Serialize;

/// List the migrations, and which of them the database has.
///
/// Works with every state of a database, also with an empty one. Whether this program can work with the
/// database is told at the end, and as `fits` in JSON.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb migrate status
  bmdb migrate status --json | jq -e .fits    exit code 0 if nothing is to be done")]
pub(crate) struct Status {}

#[derive(Serialize)]
pub(super) struct Answer {
    /// Whether this program can work with the database as it is.
    fits: bool,
    /// Why not.
    problem: Option<String>,
    migrations: Vec<Migration>,
}

#[derive(Serialize)]
struct Migration {
    version: String,
    name: String,
    state: State,
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Applied,
    Pending,
    /// Applied, of a newer release or of another program.
    Unknown,
}

impl Status {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        context.output.report(&read(context).await?)
    }
}

/// What is applied now. A connection of its own, for the database may have no schema to read from.
pub(super) async fn read(context: &Context) -> Result<Answer, Failure> {
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

impl From<MigrationStatus> for Migration {
    fn from(status: MigrationStatus) -> Self {
        Self {
            version: status.version,
            name: status.name,
            state: match (status.applied, status.known) {
                (false, _) => State::Pending,
                (true, true) => State::Applied,
                (true, false) => State::Unknown,
            },
        }
    }
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
                let problem = page.paint(Tone::Warn, problem);
                page.line(problem);
            }
        }
    }
}

fn state(state: State) -> Cell {
    match state {
        State::Applied => Cell::new("applied").tone(Tone::Good),
        State::Pending => Cell::new("pending").tone(Tone::Warn),
        State::Unknown => Cell::new("applied, of a newer release or of another program"),
    }
}
