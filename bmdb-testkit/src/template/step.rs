//! The steps of making a template, each of which says in its errors which one it is.

use super::{Seeder, Source, Step};
use crate::TestkitError;
use crate::role;
use crate::supervisor::connect;
use bmdb_model::migration;
use diesel::migration::{Migration, MigrationSource};
use diesel::pg::Pg;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::any::Any;
use tokio::task::JoinSet;

/// How much of a statement's text tells it apart from the others.
const TOLD: usize = 40;

/// bmdb's own migrations.
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
                let first = statements.split_whitespace().collect::<Vec<_>>().join(" ");
                let told: String = first.chars().take(TOLD).collect();
                let more = if told == first { "" } else { "…" };
                format!("the statements `{told}{more}`")
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
                    role::share_what_tests_make(url).await
                };
                roles.await.map_err(|error| failed(self.name(), error))
            }
            Self::Seed { seed, .. } => {
                let seeded = seeded(seed.clone(), url.to_owned()).await;
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

/// In a task, which ends with this future: a panic of the user's code must unwind nothing of ours.
async fn seeded(seed: Seeder, url: String) -> Result<(), String> {
    let mut task = JoinSet::new();
    task.spawn(async move { seed(url).await });
    match task.join_next().await {
        Some(Ok(seeded)) => seeded.map_err(|error| error.to_string()),
        Some(Err(ended)) => Err(match ended.try_into_panic() {
            Ok(panic) => format!("it panicked: {}", said(panic.as_ref())),
            Err(ended) => ended.to_string(),
        }),
        None => Ok(()),
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a text")
}

/// A step's migrations, for Diesel's harness, which takes its source by value.
struct Shared(Source);

impl MigrationSource<Pg> for Shared {
    fn migrations(&self) -> diesel::migration::Result<Vec<Box<dyn Migration<Pg>>>> {
        self.0.migrations()
    }
}
