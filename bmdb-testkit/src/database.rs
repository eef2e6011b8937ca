//! A test's own database.

use crate::TestkitError;
use crate::limit::within_limit;
use crate::role::Role;
use crate::server::Server;
use crate::shared::shared;
use crate::supervisor::connect;
use crate::template::{Template, create_database};
use crate::url::{of_writable, with_database, with_user};
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::sync::Arc;
use tokio::sync::OnceCell;
use tokio_postgres::SimpleQueryMessage;

/// A PostgreSQL database that belongs to one test.
///
/// Dropping it drops the database in the background, whoever is still connected. Where the drop
/// happens in a panic the database is kept, and a line on standard error says how to open it; a
/// test that fails by returning an error does not panic, so its database goes.
#[derive(Debug)]
pub struct TestDb {
    server: Arc<Server>,
    name: String,
    admin_url: String,
    url: String,
    /// Whether [`TestDb::url_as`] has set up the roles.
    pub(crate) roles: OnceCell<()>,
}

impl TestDb {
    /// A new database with all migrations.
    ///
    /// All tests share a server, those of one process and those of many: the first call finds or
    /// boots it, and it goes when the last process is gone. [`Template`] has databases that hold
    /// more.
    ///
    /// # Errors
    /// There is no server, or it could not be booted; the error says what to do. Tests are never
    /// skipped for the lack of a server.
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

    /// The URL of this database, for the program under test. Understood by libpq, tokio-postgres and
    /// Diesel.
    ///
    /// Its user is the kit's own, who may do everything; where `BMDB_TEST_ROLE` is `component`, it has
    /// the privileges of a component and no others: see [`TestDb::url_as`].
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The URL of this database with the kit's own user, who may do everything.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// A URL of this database that finds whichever accepts writes: its server, or one of these
    /// standbys once that is promoted. Understood by libpq, tokio-postgres and Diesel.
    ///
    /// It has the user and the password of [`TestDb::url`], and no other of its parameters.
    #[must_use]
    pub fn url_with(&self, standbys: &[&Server]) -> String {
        let servers = standbys.iter().map(|standby| standby.url());
        of_writable([self.url()].into_iter().chain(servers), &self.name)
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
        Ok(within_limit("the server to answer", connecting).await??)
    }

    /// Runs one or more statements, on a connection of their own and as the kit's own user.
    ///
    /// # Errors
    /// [`TestkitError::Database`] with the SQLSTATE.
    pub async fn run_sql(&self, sql: &str) -> Result<(), TestkitError> {
        let client = connect(&self.config()?).await?;
        Ok(client.batch_execute(sql).await?)
    }

    /// The rows of a query as `psql -At` prints them: columns separated by `|`, NULL as nothing.
    ///
    /// # Errors
    /// [`TestkitError::Database`] with the SQLSTATE.
    pub async fn rows(&self, sql: &str) -> Result<Vec<String>, TestkitError> {
        let client = connect(&self.config()?).await?;
        let messages = client.simple_query(sql).await?;
        let rows = messages.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        Ok(rows
            .map(|row| {
                let columns: Vec<&str> = (0..row.len())
                    .map(|column| row.get(column).unwrap_or_default())
                    .collect();
                columns.join("|")
            })
            .collect())
    }

    pub(crate) fn config(&self) -> Result<tokio_postgres::Config, TestkitError> {
        Ok(self.admin_url.parse()?)
    }

    pub(crate) async fn clone_of(
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
        let name = create_database(&server.keeper, server.url(), template).await?;
        server.keeper.sweep();
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
}

impl Drop for TestDb {
    fn drop(&mut self) {
        let name = self.name.clone();
        if std::thread::panicking() {
            self.server.keeper.keep_database(name);
            self.tell_that_it_is_kept();
        } else {
            self.server.keeper.drop_database(name);
        }
    }
}

impl TestDb {
    #[allow(
        clippy::print_stderr,
        reason = "whoever reads a failed test's output is who needs the database"
    )]
    fn tell_that_it_is_kept(&self) {
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
