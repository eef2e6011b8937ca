//! Templates: databases that are migrated and seeded once, and then cloned for every test.

mod fingerprint;
mod make;
mod step;

use crate::TestkitError;
use crate::hash::fnv;
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

/// The contents of a test's database when the test starts: bmdb's migrations, and then what a user of
/// bmdb adds, in the order of the calls.
///
/// A template is made once per server and cloned for each test, which costs the same for ten rows and
/// for a hundred thousand. Its key covers all of its contents, so an edited migration gets a new
/// template. If a step fails, nothing stays behind, and the next call tries again.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), bmdb_testkit::TestkitError> {
/// use bmdb_testkit::Template;
/// use std::sync::LazyLock;
///
/// // One template for all tests of a crate. `.migrations(MIGRATIONS)` adds those of
/// // `embed_migrations!`.
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
    /// Up to which version bmdb's own migrations are run.
    version: Option<String>,
    steps: Vec<Step>,
}

#[derive(Clone)]
enum Step {
    Migrations(Source),
    Sql(String),
    Seed {
        version: String,
        seed: Seeder,
    },
    /// The roles of [`bmdb_model::grants`], and logins with them.
    Roles,
}

impl Template {
    /// A template with all of bmdb's migrations, in which somebody is assumed to listen to all agents: a
    /// machine whose last heartbeat is old is silent at once. A test of what happens while nobody listens
    /// deletes that row of `agent_listening`.
    #[must_use]
    pub fn new() -> Self {
        let migrated = Self {
            version: Some(migration::newest_known()),
            ..Self::empty()
        };
        migrated.sql(
            "INSERT INTO agent_listening (provider, since, assumed) VALUES ('', '-infinity', true)",
        )
    }

    /// An empty template.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            version: None,
            steps: Vec::new(),
        }
    }

    /// A template with bmdb's migrations up to and including this version, such as `"20261122000300"`.
    ///
    /// # Errors
    /// [`TestkitError::UnknownVersion`].
    pub fn at_version(version: &str) -> Result<Self, TestkitError> {
        let known: Vec<String> = migration::known().into_iter().map(|(v, _)| v).collect();
        if known.iter().any(|known| known == version) {
            return Ok(Self {
                version: Some(version.to_owned()),
                ..Self::empty()
            });
        }
        Err(TestkitError::UnknownVersion {
            version: version.to_owned(),
            known,
        })
    }

    /// Adds migrations, which run as [`run_all_of`](migration::run_all_of) runs them in production. Their
    /// names and their SQL are part of the key; for a migration that is not only SQL, just the name.
    #[must_use]
    pub fn migrations(mut self, source: impl MigrationSource<Pg> + Send + Sync + 'static) -> Self {
        self.steps.push(Step::Migrations(Arc::new(source)));
        self
    }

    /// Adds one or more statements. Their text is part of the key.
    #[must_use]
    pub fn sql(mut self, statements: impl Into<String>) -> Self {
        self.steps.push(Step::Sql(statements.into()));
        self
    }

    /// Adds a function that gets the URL of the database. The kit cannot see whether its code has
    /// changed, so it has a version: change that with the code, or old templates stay in use.
    ///
    /// The function must close all of its connections; the kit waits for those that are still
    /// closing. It runs in a task of its own, and a panic becomes the template's error.
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

    /// A hash of the template's contents.
    pub(crate) fn key(&self) -> String {
        let own = match &self.version {
            None => "empty".to_owned(),
            Some(version) => format!("up to {version} of {:x}", *OWN),
        };
        let steps = self.steps.iter().map(|step| match step {
            // A source that cannot be read fails when the template is made, with its own error.
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

    /// Adds the roles and their privileges.
    pub(crate) fn granted(mut self) -> Self {
        self.steps.push(Step::Roles);
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.version.is_none() && self.steps.is_empty()
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
            .field("version", &self.version)
            .field("key", &self.key())
            .finish_non_exhaustive()
    }
}

/// The fingerprint of bmdb's migrations.
static OWN: LazyLock<u64> =
    LazyLock::new(|| fingerprint::of(&migration::MIGRATIONS).unwrap_or_default());
