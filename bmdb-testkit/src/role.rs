//! Connecting as one of an installation's roles, with its privileges and no others.

use crate::supervisor::connect;
use crate::url::with_user;
use crate::{TestDb, TestkitError};
use bmdb_model::grants;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::env;
use tokio_postgres::Client;

/// Which role the tests' programs connect as: `component`, or by default the kit's own user.
const VARIABLE: &str = "BMDB_TEST_ROLE";

/// One of the roles that [`bmdb_model::grants`] sets up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Migrates, and defines processes.
    Owner,
    /// Works: reads and writes rows.
    Component,
    /// Reads.
    Viewer,
}

impl Role {
    const ALL: [Self; 3] = [Self::Owner, Self::Component, Self::Viewer];

    fn group(self) -> &'static str {
        match self {
            Self::Owner => grants::OWNER,
            Self::Component => grants::COMPONENT,
            Self::Viewer => grants::VIEWER,
        }
    }

    /// A login that is a member of the role and of nothing else.
    pub(crate) fn login(self) -> &'static str {
        match self {
            Self::Owner => "bmdb_test_owner",
            Self::Component => "bmdb_test_component",
            Self::Viewer => "bmdb_test_viewer",
        }
    }

    /// The role that `BMDB_TEST_ROLE` names.
    pub(crate) fn from_env() -> Result<Option<Self>, TestkitError> {
        let Some(value) = env::var_os(VARIABLE).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        match value.to_str() {
            Some("component") => Ok(Some(Self::Component)),
            _ => Err(TestkitError::WrongRole {
                value: value.to_string_lossy().into_owned(),
            }),
        }
    }
}

impl TestDb {
    /// The URL of this database for a login that has this role and no other. The first call sets up
    /// the roles in this database ([`bmdb_model::grants::apply`]), whose tables belong to
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
    /// The logins are the server's and stay. On a server that asks for passwords they have the one of
    /// the user that the kit connects as.
    ///
    /// # Errors
    /// [`TestkitError::Diesel`], [`TestkitError::Database`].
    pub async fn url_as(&self, role: Role) -> Result<String, TestkitError> {
        self.roles
            .get_or_try_init(|| set_up(self.admin_url()))
            .await?;
        Ok(with_user(self.admin_url(), role.login()))
    }
}

/// Sets up the roles in a database, and the logins.
pub(crate) async fn set_up(url: &str) -> Result<(), TestkitError> {
    let mut conn = AsyncPgConnection::establish(url).await?;
    let applied = grants::apply(&mut conn).await;
    applied.map_err(|error| TestkitError::Diesel(Box::new(error)))?;
    let config: tokio_postgres::Config = url.parse()?;
    let client = connect(&config).await?;
    for role in Role::ALL {
        make_login(&client, role, config.get_password()).await?;
    }
    Ok(())
}

/// Lets components write what the kit's own user makes here from now on, as if a migration had made
/// it: a test's own tables stand for those of a user of bmdb.
pub(crate) async fn share_what_tests_make(url: &str) -> Result<(), TestkitError> {
    let client = connect(&url.parse()?).await?;
    let group = grants::COMPONENT;
    let share = format!(
        "ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {group};
         ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO {group}"
    );
    Ok(client.batch_execute(&share).await?)
}

/// All tests of a server make it, and all but the first find it made.
async fn make_login(
    client: &Client,
    role: Role,
    password: Option<&[u8]>,
) -> Result<(), TestkitError> {
    let login = role.login();
    if is_member(client, role).await? {
        return Ok(());
    }
    let password = password.map_or_else(String::new, |password| {
        let password = String::from_utf8_lossy(password).replace('\'', "''");
        format!("PASSWORD '{password}'")
    });
    let create = format!(
        "CREATE ROLE {login} LOGIN {password} IN ROLE {}",
        role.group()
    );
    match client.batch_execute(&create).await {
        Err(_) if is_member(client, role).await? => Ok(()),
        created => Ok(created?),
    }
}

async fn is_member(client: &Client, role: Role) -> Result<bool, TestkitError> {
    let member = "SELECT FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid
                  JOIN pg_roles l ON l.oid = m.member WHERE g.rolname = $1 AND l.rolname = $2";
    let found = client
        .query_opt(member, &[&role.group(), &role.login()])
        .await?;
    Ok(found.is_some())
}
