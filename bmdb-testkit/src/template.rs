//! Templates: databases that are migrated and seeded once, then cloned for every test.

mod fingerprint;
mod make;
mod step;

use crate::hash::fnv;
use crate::{Server, TestDb, TestkitError};
use bmdb_model::migration;
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

pub(crate) use make::create_database;

type Source = Arc<dyn MigrationSource<Pg> + Send + Sync>;
type BoxedError = Box<dyn std::error::Error + Send + Sync>;
type Seeding = Pin<Box<dyn Future<Output = Result<(), BoxedError>> + Send>>;
type Seeder = Arc<dyn Fn(String) -> Seeding + Send + Sync>;

/// What a test's database holds at the test's start: bmdb's migrations, and after them whatever
/// else a user of bmdb adds, in the order of the calls.
///
/// A template is made once per server and then cloned for each test, which costs the same whether
/// it holds ten rows or a hundred thousand. All that is in it is part of its key, so that an
/// edited migration gets a new one. Where a step fails nothing stays behind, and the next call tries
/// anew.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), bmdb_testkit::TestkitError> {
/// use bmdb_testkit::Template;
/// use std::sync::LazyLock;
///
/// // One home for all tests of a crate. `.migrations(MIGRATIONS)` takes those of `embed_migrations!`.
/// static TEMPLATE: LazyLock<Template> = LazyLock::new(|| {
///     Template::new()
///         .sql("CREATE TABLE racks (name text PRIMARY KEY)")
///         .sql("INSERT INTO racks VALUES ('A1'), ('A2')")
/// });
///
/// let db = TEMPLATE.database().await?;
/// assert_eq!(db.rows("SELECT count(*) FROM racks").await?, ["2"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Template {
    level: Level,
    steps: Vec<Step>,
}

/// How far bmdb's own migrations go.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Empty,
    UpTo(String),
}

#[derive(Clone)]
enum Step {
    Migrations(Source),
    Sql(String),
    Seed {
        version: String,
        seed: Seeder,
    },
    /// The roles of [`bmdb_model::grants`], and logins that have them.
    Roles,
}

impl Template {
    /// All of bmdb's migrations.
    #[must_use]
    pub fn new() -> Self {
        Self {
            level: Level::UpTo(migration::newest_known()),
            steps: Vec::new(),
        }
    }

    /// Nothing at all.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            level: Level::Empty,
            steps: Vec::new(),
        }
    }

    /// bmdb's migrations up to and including this version, such as `"20261122000300"`.
    ///
    /// # Errors
    /// [`TestkitError::UnknownVersion`].
    pub fn at_version(version: &str) -> Result<Self, TestkitError> {
        let known: Vec<String> = migration::known().into_iter().map(|(v, _)| v).collect();
        if known.iter().any(|known| known == version) {
            return Ok(Self {
                level: Level::UpTo(version.to_owned()),
                steps: Vec::new(),
            });
        }
        Err(TestkitError::UnknownVersion {
            version: version.to_owned(),
            known,
        })
    }

    /// Then these migrations, as [`run_all_of`](migration::run_all_of) runs them in production. Their
    /// names and their SQL are part of the key; of a migration that is more than SQL the name alone.
    #[must_use]
    pub fn migrations(mut self, source: impl MigrationSource<Pg> + Send + Sync + 'static) -> Self {
        self.steps.push(Step::Migrations(Arc::new(source)));
        self
    }

    /// Then one or more statements. Their text is part of the key.
    #[must_use]
    pub fn sql(mut self, statements: impl Into<String>) -> Self {
        self.steps.push(Step::Sql(statements.into()));
        self
    }

    /// Then a function that is given the URL of the database. Nobody can tell whether its code has
    /// changed, so it has a version: change that with the code, or old templates stay in use.
    ///
    /// All of its connections must be closed when it returns; those that are still closing are
    /// waited for. It runs in a task of its own, and its panic is the template's error.
    #[must_use]
    pub fn seed<F, E>(
        mut self,
        version: impl Into<String>,
        seed: impl Fn(String) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<(), E>> + Send + 'static,
        E: Into<BoxedError>,
    {
        self.steps.push(Step::Seed {
            version: version.into(),
            seed: Arc::new(move |url| {
                let seeding = seed(url);
                Box::pin(async move { seeding.await.map_err(Into::into) })
            }),
        });
        self
    }

    /// A new database that is a clone of it, on the server that all tests share.
    ///
    /// # Errors
    /// [`TestkitError::Template`] where a step fails, which it names; otherwise as [`TestDb::new`].
    pub async fn database(&self) -> Result<TestDb, TestkitError> {
        TestDb::clone_of(self, None).await
    }

    /// A new database that is a clone of it, on this server.
    ///
    /// # Errors
    /// As [`Template::database`].
    pub async fn database_on(&self, server: &Arc<Server>) -> Result<TestDb, TestkitError> {
        TestDb::clone_of(self, Some(server.clone())).await
    }

    /// Tells it apart from every template with other contents.
    pub(crate) fn key(&self) -> String {
        let own = match &self.level {
            Level::Empty => "empty".to_owned(),
            Level::UpTo(version) => format!("up to {version} of {:x}", *OWN),
        };
        let steps = self.steps.iter().map(|step| match step {
            // A source that cannot be read fails when the template is made, with its own words.
            Step::Migrations(source) => {
                let migrations = fingerprint::of(source.as_ref()).unwrap_or_default();
                format!("migrations {migrations:x}")
            }
            Step::Sql(statements) => format!("statements {statements}"),
            Step::Seed { version, .. } => format!("seed {version}"),
            Step::Roles => format!("roles of {}", env!("CARGO_PKG_VERSION")),
        });
        let parts: Vec<String> = [own].into_iter().chain(steps).collect();
        format!("{:016x}", fnv(parts.iter().map(String::as_bytes)))
    }

    /// The same where components are what [`bmdb_model::grants`] lets them be.
    pub(crate) fn granted(mut self) -> Self {
        self.steps.push(Step::Roles);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.level == Level::Empty && self.steps.is_empty()
    }
}

impl Default for Template {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Template")
            .field("level", &self.level)
            .field("key", &self.key())
            .finish_non_exhaustive()
    }
}

/// The fingerprint of bmdb's migrations.
static OWN: LazyLock<u64> =
    LazyLock::new(|| fingerprint::of(&migration::MIGRATIONS).unwrap_or_default());
