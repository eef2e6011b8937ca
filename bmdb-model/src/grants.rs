//! The roles of an installation, and what each of them may do.
//!
//! | role | may | for |
//! |---|---|---|
//! | [`OWNER`] | everything in the schema: it owns the schema's contents | migrations, definitions of processes |
//! | [`COMPONENT`] | read everything and write rows, except definitions, schema versions and tables; add audit records, but not change them | control loops, operators |
//! | [`VIEWER`] | read everything | consoles, people at a psql prompt |
//!
//! These are group roles without a login. The server's administrator creates the logins: `CREATE ROLE
//! agent_starter LOGIN PASSWORD '…' IN ROLE bmdb_component`. All databases of a server share the roles,
//! and each database needs its own [`apply`].
//!
//! Default privileges cover tables and views that [`OWNER`] creates later: components may read and
//! write the tables, viewers may read tables and views. Migrations run as that role when a member of it
//! runs them, those of downstream users ([`crate::migration::run_all_of`]) included. Run `SET ROLE
//! bmdb_owner` before you create a table by hand. For a table that components must not write, put a
//! `REVOKE` into the migration that creates it; no later [`apply`] grants that privilege again.

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

/// Returns the statements that [`apply`] would run on this database, in order. Reads only.
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

/// Sets up the roles and their privileges in this database; returns the statements that ran. Running it
/// again changes nothing. [`OWNER`] becomes the owner of everything that belongs to the user who has
/// migrated so far, including that user's own tables; that user must be a member of a role from then
/// on. Others (`PUBLIC`) may no longer connect to the database or use the schema.
///
/// Needs a connection without an open transaction. Waits for a running migration.
///
/// Cancellation: roles may have been created, and nothing else.
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

/// Roles belong to the server, so the set-up of another database may create them at the same time. Each
/// is created outside of a transaction, so that losing such a race undoes nothing else.
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
    // Changing a table's owner waits for the table's transactions, and later queries queue behind it.
    conn.batch_execute("SET LOCAL lock_timeout = '5s'").await?;
    // Of two concurrent grants on a table one fails; and a migration creates tables.
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

/// Revokes from components what default privileges grant on guarded tables and on views, after
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
