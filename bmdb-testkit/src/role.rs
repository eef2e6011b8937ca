//! Roles: logins that have the privileges of one of an installation's roles and no others.

use crate::TestkitError;
use crate::connect::connect;
use bmdb_model::grants;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::env;
use tokio_postgres::Client;

/// Which role the tests' programs connect as: `component`; by default the kit's own user.
const VARIABLE: &str = "BMDB_TEST_ROLE";

/// One of the roles that [`bmdb_model::grants`] sets up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Role {
    /// Migrates, and defines processes.
    Owner,
    /// Reads and writes rows.
    Component,
    /// Reads rows.
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

    /// A login that is a member of this role only.
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

/// Sets up the roles in a database, and the logins.
pub(crate) async fn set_up(url: &str) -> Result<(), TestkitError> {
    let mut conn = AsyncPgConnection::establish(url).await?;
    let applied = grants::apply(&mut conn).await;
    applied.map_err(|error| TestkitError::Diesel(Box::new(error)))?;
    let config: tokio_postgres::Config = url.parse()?;
    let client = connect(&config).await?;
    for role in Role::ALL {
        create_login(&client, role, config.get_password()).await?;
    }
    Ok(())
}

/// Grants components the privileges on tables that the kit's own user creates from now on, as if a
/// migration had created them: a test's own tables stand for those of a user of bmdb.
pub(crate) async fn grant_on_test_tables(url: &str) -> Result<(), TestkitError> {
    let client = connect(&url.parse()?).await?;
    let group = grants::COMPONENT;
    let grant = format!(
        "ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO {group};
         ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO {group}"
    );
    Ok(client.batch_execute(&grant).await?)
}

/// Creates a login if it does not exist. Several tests may do this on one server at the same time.
async fn create_login(
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
