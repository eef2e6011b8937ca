//! Runs the steps of making a template; its errors name the step.

use super::{Seeder, Source, Step};
use crate::TestkitError;
use crate::connect::connect;
use crate::role;
use bmdb_model::migration;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::any::Any;
use tokio::task::JoinSet;

/// How many characters of a statement an error quotes.
const QUOTED: usize = 40;

/// Runs bmdb's own migrations.
pub(super) async fn migrate(url: &str, version: &str) -> Result<(), TestkitError> {
    let conn = AsyncPgConnection::establish(url).await?;
    let migrated = migration::run_up_to(conn, version).await;
    migrated
        .map(drop)
        .map_err(|error| failed("bmdb's migrations", error))
}

impl Step {
    pub(super) fn name(&self) -> String {
        match self {
            Self::Migrations(_) => "your migrations".to_owned(),
            Self::Sql(statements) => {
                let one_line = statements.split_whitespace().collect::<Vec<_>>().join(" ");
                let start: String = one_line.chars().take(QUOTED).collect();
                let more = if start == one_line { "" } else { "…" };
                format!("the statements `{start}{more}`")
            }
            Self::Seed { version, .. } => format!("the seed {version:?}"),
            Self::Roles => "the roles".to_owned(),
        }
    }

    pub(super) async fn run(&self, url: &str) -> Result<(), TestkitError> {
        match self {
            Self::Migrations(source) => {
                let conn = AsyncPgConnection::establish(url).await?;
                let migrated = migration::run_all_of(conn, Shared(source.clone())).await;
                migrated.map(drop).map_err(|e| failed(self.name(), e))
            }
            Self::Sql(statements) => {
                let client = connect(&url.parse()?).await?;
                let run = client.batch_execute(statements).await;
                run.map_err(|error| failed(self.name(), TestkitError::from(error)))
            }
            Self::Roles => {
                let roles = async {
                    role::set_up(url).await?;
                    role::grant_on_test_tables(url).await
                };
                roles.await.map_err(|error| failed(self.name(), error))
            }
            Self::Seed { seed, .. } => {
                let seeded = run_seed(seed.clone(), url.to_owned()).await;
                seeded.map_err(|reason| failed(self.name(), reason))
            }
        }
    }
}

fn failed(step: impl Into<String>, reason: impl ToString) -> TestkitError {
    TestkitError::Template {
        step: step.into(),
        reason: reason.to_string(),
    }
}

/// Runs a seed in a task, which ends with this future: a panic of the user's code must not unwind the
/// kit's.
async fn run_seed(seed: Seeder, url: String) -> Result<(), String> {
    let mut task = JoinSet::new();
    task.spawn(async move { seed(url).await });
    match task.join_next().await {
        Some(Ok(seeded)) => seeded.map_err(|error| error.to_string()),
        Some(Err(ended)) => Err(match ended.try_into_panic() {
            Ok(panic) => format!("it panicked: {}", message(panic.as_ref())),
            Err(ended) => ended.to_string(),
        }),
        None => Ok(()),
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}

/// A step's migrations as a value, which Diesel's harness takes.
struct Shared(Source);

impl MigrationSource<Pg> for Shared {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        self.0.migrations()
    }
}
