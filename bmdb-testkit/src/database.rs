//! A test's own database.

use crate::TestkitError;
use crate::connect::{connect, rows};
use crate::role::{self, Role};
use crate::server::Server;
use crate::shared::shared;
use crate::template::{Template, create_database};
use crate::url::{of_writable, with_database, with_user};
use crate::wait::within_timeout;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// A PostgreSQL database that belongs to one test.
///
/// Dropping it drops the database in the background and closes its connections. If the drop happens
/// in a panic, the database is kept and a line on standard error says how to open it. A test that
/// fails by returning an error does not panic, so its database is dropped.
#[derive(Debug)]
pub struct TestDb {
    server: Arc<Server>,
    name: String,
    admin_url: String,
    url: String,
    /// Whether [`TestDb::url_as`] has set up the roles.
    roles: OnceCell<()>,
}

impl TestDb {
    /// A new database with all migrations.
    ///
    /// All tests of all processes share one server: the first call finds or boots it, and it stops
    /// after the last process has ended. [`Template`] makes databases with more contents.
    ///
    /// # Errors
    /// There is no server, or it could not be booted; the error says what to do. Tests are never
    /// skipped because there is no server.
    pub async fn new() -> Result<Self, TestkitError> {
        Template::new().database().await
    }

    /// A new database without any migration.
    ///
    /// # Errors
    /// As [`TestDb::new`].
    pub async fn empty() -> Result<Self, TestkitError> {
        Template::empty().database().await
    }

    /// A new database migrated up to and including this version, such as `"20261122000300"`.
    ///
    /// # Errors
    /// [`TestkitError::UnknownVersion`], and as [`TestDb::new`].
    pub async fn at_version(version: &str) -> Result<Self, TestkitError> {
        Template::at_version(version)?.database().await
    }

    /// A new database with all migrations on this server instead of the shared one.
    ///
    /// # Errors
    /// As [`TestDb::new`].
    pub async fn on(server: &Arc<Server>) -> Result<Self, TestkitError> {
        Template::new().database_on(server).await
    }

    /// The URL of this database, for the program under test. libpq, tokio-postgres and Diesel read it.
    ///
    /// Its user is the kit's own, with all privileges. If `BMDB_TEST_ROLE` is `component`, its user has
    /// only the privileges of a component: see [`TestDb::url_as`].
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of this database with the kit's own user, who has all privileges.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// A URL that finds this database on its server, or on one of these standbys once that is promoted:
    /// whichever accepts writes. libpq, tokio-postgres and Diesel read it.
    ///
    /// It has the user and the password of [`TestDb::url`], and no other of its parameters.
    #[must_use]
    pub fn url_with(&self, standbys: &[&Server]) -> String {
        let servers = standbys.iter().map(|standby| standby.url());
        of_writable([self.url()].into_iter().chain(servers), &self.name)
    }

    /// The URL of this database for a login that has only the privileges of this role. The first call
    /// sets up the roles in this database ([`bmdb_model::grants::apply`]); its tables belong to
    /// `bmdb_owner` from then on.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use bmdb_testkit::{Role, TestDb};
    /// use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
    ///
    /// let db = TestDb::new().await?;
    /// let mut viewer = AsyncPgConnection::establish(&db.url_as(Role::Viewer).await?).await?;
    /// viewer.batch_execute("SELECT FROM machines").await?;
    /// assert!(viewer.batch_execute("DELETE FROM machines").await.is_err());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// The logins belong to the server and stay there. On a server that asks for passwords they have
    /// the password of the kit's own user.
    ///
    /// # Errors
    /// [`TestkitError::Diesel`], [`TestkitError::Database`].
    pub async fn url_as(&self, role: Role) -> Result<String, TestkitError> {
        self.roles
            .get_or_try_init(|| role::set_up(self.admin_url()))
            .await?;
        Ok(with_user(self.admin_url(), role.login()))
    }

    /// Makes the server speak German on all later connections to this database, for tests of errors, which
    /// must not depend on the text of messages.
    ///
    /// # Errors
    /// [`TestkitError::Database`] if the server has no such locale: glibc's `localedef` and its sources of
    /// locales are needed (on Debian the package `locales`), and PostgreSQL's translations.
    pub async fn speak_german(&self) -> Result<(), TestkitError> {
        let (name, locale) = (self.name(), crate::locale::GERMAN);
        let sql = format!("ALTER DATABASE \"{name}\" SET lc_messages = '{locale}'");
        self.run_sql(&sql).await
    }

    /// The name of this database.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A new connection to this database, as the kit's own user.
    ///
    /// # Errors
    /// [`TestkitError::Diesel`], [`TestkitError::TimedOut`].
    pub async fn connect(&self) -> Result<AsyncPgConnection, TestkitError> {
        let connecting = AsyncPgConnection::establish(&self.admin_url);
        Ok(within_timeout("the server to answer", connecting).await??)
    }

    /// Runs one or more statements on a new connection, as the kit's own user.
    ///
    /// # Errors
    /// [`TestkitError::Database`] with the SQLSTATE.
    pub async fn run_sql(&self, sql: &str) -> Result<(), TestkitError> {
        Ok(self.client().await?.batch_execute(sql).await?)
    }

    /// The rows of a query as `psql -At` prints them: columns separated by `|`, NULL as nothing.
    ///
    /// # Errors
    /// [`TestkitError::Database`] with the SQLSTATE.
    pub async fn rows(&self, sql: &str) -> Result<Vec<String>, TestkitError> {
        let rows = rows(&self.client().await?, sql).await?;
        let line = |row: &tokio_postgres::SimpleQueryRow| {
            let columns: Vec<&str> = (0..row.len())
                .map(|column| row.get(column).unwrap_or_default())
                .collect();
            columns.join("|")
        };
        Ok(rows.iter().map(line).collect())
    }

    pub(crate) async fn client(&self) -> Result<tokio_postgres::Client, TestkitError> {
        connect(&self.admin_url.parse()?).await
    }

    async fn clone_of(
        template: &Template,
        server: Option<Arc<Server>>,
    ) -> Result<Self, TestkitError> {
        let server = match server {
            Some(server) => server,
            None => {
                let template = template.clone();
                // Booting blocks.
                let found = tokio::task::spawn_blocking(move || shared(&template));
                let failed = |error| TestkitError::boot("booting the server", error);
                found.await.map_err(failed)??
            }
        };
        let role = Role::from_env()?;
        let granted = role
            .filter(|_| !template.is_empty())
            .map(|_| template.clone().granted());
        let template = granted.as_ref().unwrap_or(template);
        let name = create_database(&server.manager, server.url(), template).await?;
        server.manager.drop_stale();
        let admin_url = with_database(server.url(), &name);
        Ok(Self {
            url: role.map_or_else(
                || admin_url.clone(),
                |role| with_user(&admin_url, role.login()),
            ),
            admin_url,
            server,
            name,
            roles: OnceCell::new(),
        })
    }

    #[allow(
        clippy::print_stderr,
        reason = "a person who reads a failed test's output needs the database"
    )]
    fn print_how_to_open(&self) {
        let psql = self.server.psql();
        eprintln!(
            "bmdb-testkit: the failed test's database: {} '{}'",
            psql.display(),
            self.admin_url
        );
        if self.server.folder().is_some() {
            eprintln!(
                "bmdb-testkit: its server ends with the last test; to look at the database \
                 afterwards set BMDB_TESTKIT_LINGER to how many seconds it is to stay"
            );
        }
    }
}

impl Template {
    /// A new database that is a clone of this template, on the server that all tests share.
    ///
    /// # Errors
    /// [`TestkitError::Template`] if a step fails; the error names it. Otherwise as [`TestDb::new`].
    pub async fn database(&self) -> Result<TestDb, TestkitError> {
        TestDb::clone_of(self, None).await
    }

    /// A new database that is a clone of this template, on this server.
    ///
    /// # Errors
    /// As [`Template::database`].
    pub async fn database_on(&self, server: &Arc<Server>) -> Result<TestDb, TestkitError> {
        TestDb::clone_of(self, Some(server.clone())).await
    }
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let name = self.name.clone();
        if std::thread::panicking() {
            self.server.manager.keep_database(name);
            self.print_how_to_open();
        } else {
            self.server.manager.drop_database(name);
        }
    }
}
