//! The roles of an installation, and what each of them may do.
//!
//! | role | may | for |
//! |---|---|---|
//! | [`OWNER`] | everything in the schema: it owns what is in there | migrations, definitions of processes |
//! | [`COMPONENT`] | read all, write rows; no definition, no version, no table; of what people did it adds rows and changes none | control loops, operators |
//! | [`VIEWER`] | read all | consoles, people at a psql prompt |
//!
//! They are roles to be a member of; nobody logs in as one. The server's administrator makes the
//! logins: `CREATE ROLE agent_starter LOGIN PASSWORD '…' IN ROLE bmdb_component`. All databases of a
//! server share the roles, and each needs its own [`apply`].
//!
//! Of what is made later, a component may read and write the tables, and a viewer read tables and
//! views, if [`OWNER`] made it: the default privileges say so. Migrations of a member of it see to
//! that, those of a user of bmdb ([`crate::migration::run_all_of`]) too. Whoever makes a table by
//! hand does it after `SET ROLE bmdb_owner`. A table that components are not to write is a
//! `REVOKE` in the migration that makes it, and no later [`apply`] grants that again.

mod error;
mod existing_grants;
mod roles;
mod text;

pub use error::GrantError;
pub(crate) use existing_grants::{acts_as_owner, maker};
pub use roles::{COMPONENT, OWNER, VIEWER};

use crate::connection::{Access, Isolation};
use crate::internal::connection;
use crate::migration::MIGRATION_LOCK;
use diesel::result::Error as DieselError;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use existing_grants::Place;

/// The statements that [`apply`] would run on this database, in their order. Reads only.
///
/// # Errors
/// [`GrantError::NoSchema`], [`GrantError::Database`].
pub async fn statements(conn: &mut AsyncPgConnection) -> Result<Vec<String>, GrantError> {
    connection::secure_search_path(conn).await?;
    let place = existing_grants::place(conn).await?;
    let roles = existing_grants::missing_roles(conn).await?;
    let grants = text::grants(
        &place,
        &existing_grants::objects(conn, &place.schema).await?,
    );
    let roles = roles.into_iter().map(text::create_role);
    Ok(roles.chain(grants).collect())
}

/// Sets up the roles and their privileges in this database; returns the statements that ran. As often
/// as one likes: a second time changes nothing. What belongs to the user who has migrated so far, his
/// own tables too, belongs to [`OWNER`] afterwards, and that user needs to be a member of a role from
/// then on. Nobody else (`PUBLIC`) may connect to the database or see the schema any more.
///
/// Needs a connection that is in no transaction. A migration that runs is waited for.
///
/// Cancellation: roles may have been made, and nothing else.
///
/// # Errors
/// [`GrantError`].
pub async fn apply(conn: &mut AsyncPgConnection) -> Result<Vec<String>, GrantError> {
    connection::secure_search_path(conn).await?;
    let place = existing_grants::place(conn).await?;
    let mut done = create_roles(conn, &place).await?;
    let (isolation, access) = (Isolation::ReadCommitted, Access::ReadWrite);
    connection::begin(conn, isolation, access).await?;
    match grant(conn, &place).await {
        Ok(granted) => {
            connection::commit(conn).await?;
            done.extend(granted);
            Ok(done)
        }
        Err(error) => {
            connection::roll_back(conn).await?;
            Err(error)
        }
    }
}

/// Roles are the server's, so other databases' set-ups may make them at the same time; each is made
/// outside of a transaction, that losing such a race loses nothing else.
async fn create_roles(
    conn: &mut AsyncPgConnection,
    place: &Place,
) -> Result<Vec<String>, GrantError> {
    let mut done = Vec::new();
    for role in existing_grants::missing_roles(conn).await? {
        if !place.creates_roles {
            let user = place.user.clone();
            return Err(GrantError::MayNotCreateRoles { user, role });
        }
        let statement = text::create_role(role);
        match conn.batch_execute(&statement).await {
            Ok(()) => done.push(statement),
            Err(_) if !existing_grants::missing_roles(conn).await?.contains(&role) => {}
            Err(error) => return Err(refused(statement, error)),
        }
    }
    Ok(done)
}

async fn grant(conn: &mut AsyncPgConnection, place: &Place) -> Result<Vec<String>, GrantError> {
    // Taking a table over waits for its transactions, and everybody else waits behind that.
    conn.batch_execute("SET LOCAL lock_timeout = '5s'").await?;
    // Of two that grant on the same table at a time one fails; and a migration makes tables.
    let lock = format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
    conn.batch_execute(&lock).await?;
    let statements = text::grants(place, &existing_grants::objects(conn, &place.schema).await?);
    run(conn, &statements).await?;
    match existing_grants::not_in_force(conn, &place.schema).await? {
        None => Ok(statements),
        Some(what) => Err(GrantError::NotInForce {
            user: place.user.clone(),
            what,
        }),
    }
}

/// Takes from components what default privileges give them of guarded tables and of views, once
/// [`OWNER`] has migrated.
pub(crate) async fn restrict(conn: &mut AsyncPgConnection) -> Result<(), GrantError> {
    let place = existing_grants::place(conn).await?;
    let objects = existing_grants::objects(conn, &place.schema).await?;
    run(conn, &text::restrictions(&objects).collect::<Vec<_>>()).await
}

async fn run(conn: &mut AsyncPgConnection, statements: &[String]) -> Result<(), GrantError> {
    for statement in statements {
        let ran = conn.batch_execute(statement).await;
        ran.map_err(|error| refused(statement.clone(), error))?;
    }
    Ok(())
}

fn refused(statement: String, error: DieselError) -> GrantError {
    GrantError::Refused {
        statement,
        reason: error.into(),
    }
}
