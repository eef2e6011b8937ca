//! What a database already has: roles, the schema, and its contents.

use super::error::GrantError;
use super::roles::{APPENDED, COMPONENT, GUARDED, OWNER, VIEWER};
use crate::Error;
use crate::statement::statement;
use diesel::OptionalExtension;
use diesel::sql_types::{Array, Bool, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Where bmdb is installed, and the connected user.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) user: String,
    pub(super) creates_roles: bool,
    /// Whether the user can act as the owner.
    pub(super) is_owner: bool,
    /// Quoted where needed, like the schema.
    pub(super) database: String,
    pub(super) schema: String,
}

/// An object of the schema that can have privileges.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) kind: Kind,
    /// With the schema, quoted where needed.
    pub(super) name: String,
    /// Whether it belongs to the owner already. Otherwise it belongs to the user who has migrated so
    /// far.
    pub(super) is_owners: bool,
    pub(super) writes: Writes,
}

/// How components may write its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Writes {
    All,
    Added,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    View,
    Sequence,
    /// The sequence of a column. Its owner follows that of the table.
    ColumnsSequence,
    Routine,
}

statement! {
    FindPlace<'a> = "SELECT u.rolname::text, u.rolsuper OR u.rolcreaterole, \
            u.rolsuper OR EXISTS (SELECT FROM pg_roles o WHERE o.rolname = $1 AND pg_has_role(o.oid, 'MEMBER')), \
            quote_ident(current_database()), \
            quote_ident(coalesce((SELECT n.nspname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
                                  WHERE c.oid = to_regclass('machines')), current_schema()::text)) \
         FROM pg_roles u WHERE u.rolname = current_user";
    (owner: &'a str => Text) -> (Text, Bool, Bool, Text, Nullable<Text>)
}

pub(super) async fn place(conn: &mut AsyncPgConnection) -> Result<Place, GrantError> {
    let (user, creates_roles, is_owner, database, schema): (_, _, _, _, Option<String>) =
        FindPlace { owner: OWNER }
            .get_result(conn)
            .await
            .map_err(Error::from)?;
    Ok(Place {
        user,
        creates_roles,
        is_owner,
        database,
        schema: schema.ok_or(GrantError::NoSchema)?,
    })
}

statement! {
    FindRoles<'a> = "SELECT rolname::text FROM pg_roles WHERE rolname = ANY ($1)";
    (roles: &'a [&'a str] => Array<Text>) -> Text
}

pub(super) async fn missing_roles(
    conn: &mut AsyncPgConnection,
) -> Result<Vec<&'static str>, Error> {
    let roles = [OWNER, COMPONENT, VIEWER];
    let found: Vec<String> = FindRoles { roles: &roles }.load(conn).await?;
    let is_missing = |role: &&str| !found.iter().any(|found| found == role);
    Ok(roles.into_iter().filter(is_missing).collect())
}

statement! {
    /// Objects of the owner, or of the owner of `machines`. Objects of extensions are left out. Tables
    /// come first, because the sequences of their columns follow them.
    FindObjects<'a> = "\
        WITH mine AS ( \
            SELECT o.oid, o.rolname = $1 AS is_owners FROM pg_roles o \
            WHERE o.rolname = $1 \
               OR o.oid = (SELECT m.relowner FROM pg_class m WHERE m.oid = coalesce( \
                    to_regclass($2 || '.machines'), to_regclass($2 || '.__diesel_schema_migrations'))) \
        ), brought AS ( \
            SELECT d.classid, d.objid FROM pg_depend d WHERE d.deptype = 'e' \
        ) \
        SELECT CASE WHEN c.relkind IN ('v', 'm') THEN 'view' WHEN c.relkind <> 'S' THEN 'table' \
                    WHEN EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass \
                                 AND d.objid = c.oid AND d.deptype IN ('a', 'i')) THEN 'columns sequence' \
                    ELSE 'sequence' END, \
               format('%s.%I', $2, c.relname), mine.is_owners, c.relname = ANY ($3), c.relname = ANY ($4) \
        FROM pg_class c JOIN mine ON mine.oid = c.relowner \
        WHERE c.relnamespace = $2::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
          AND NOT EXISTS (SELECT FROM brought b WHERE b.classid = 'pg_class'::regclass AND b.objid = c.oid) \
        UNION ALL \
        SELECT 'routine', format('%s.%I(%s)', $2, r.proname, pg_get_function_identity_arguments(r.oid)), \
               mine.is_owners, false, false \
        FROM pg_proc r JOIN mine ON mine.oid = r.proowner \
        WHERE r.pronamespace = $2::regnamespace \
          AND NOT EXISTS (SELECT FROM brought b WHERE b.classid = 'pg_proc'::regclass AND b.objid = r.oid) \
        ORDER BY 1 DESC, 2";
    (
        owner: &'a str => Text, schema: &'a str => Text,
        guarded: &'a [&'a str] => Array<Text>, appended: &'a [&'a str] => Array<Text>,
    ) -> (Text, Text, Bool, Bool, Bool)
}

/// Lists the objects of the schema; `schema` is quoted where needed.
pub(super) async fn objects(
    conn: &mut AsyncPgConnection,
    schema: &str,
) -> Result<Vec<Object>, Error> {
    let find = FindObjects {
        schema,
        owner: OWNER,
        guarded: &GUARDED,
        appended: &APPENDED,
    };
    let mut objects: Vec<Object> = find
        .load(conn)
        .await?
        .into_iter()
        .map(
            |(kind, name, is_owners, is_guarded, is_appended): (String, _, _, _, _)| Object {
                kind: match kind.as_str() {
                    "table" => Kind::Table,
                    "view" => Kind::View,
                    "sequence" => Kind::Sequence,
                    "columns sequence" => Kind::ColumnsSequence,
                    _ => Kind::Routine,
                },
                name,
                is_owners,
                // Writing to a simple view writes to its table, whatever the privileges on that table.
                writes: if is_guarded || kind == "view" {
                    Writes::Nothing
                } else if is_appended {
                    Writes::Added
                } else {
                    Writes::All
                },
            },
        )
        .collect();
    objects.sort_by_key(|object| object.kind as u8);
    Ok(objects)
}

statement! {
    FindPublic<'a> = "SELECT has_schema_privilege('public', $1::regnamespace, 'CREATE'), \
            has_database_privilege('public', current_database(), 'CONNECT'), \
            has_schema_privilege($2, $1::regnamespace, 'CREATE'), \
            has_schema_privilege($3, $1::regnamespace, 'USAGE') \
              AND has_database_privilege($3, current_database(), 'CONNECT')";
    (schema: &'a str => Text, owner: &'a str => Text, viewer: &'a str => Text)
        -> (Bool, Bool, Bool, Bool)
}

/// What does not hold although it was requested: the server only warns when the user may not grant or
/// revoke a privilege.
pub(super) async fn not_in_force(
    conn: &mut AsyncPgConnection,
    schema: &str,
) -> Result<Option<&'static str>, Error> {
    let find = FindPublic {
        schema,
        owner: OWNER,
        viewer: VIEWER,
    };
    let (makes, connects, owner_makes, viewer_sees): (bool, bool, bool, bool) =
        find.get_result(conn).await?;
    Ok(if makes {
        Some("only bmdb_owner creates tables and functions in the schema")
    } else if connects {
        Some("only members of bmdb's roles connect to the database")
    } else if !owner_makes {
        Some("bmdb_owner creates tables in the schema")
    } else if !viewer_sees {
        Some("bmdb_viewer connects to the database and uses the schema")
    } else {
        None
    })
}

statement! {
    /// Returns no row if the roles were never set up.
    FindActing<'a> = "SELECT pg_has_role(o.oid, 'MEMBER') \
         FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) a JOIN pg_roles o ON o.oid = a.grantee \
         WHERE n.nspname = current_schema() AND a.privilege_type = 'CREATE' AND o.rolname = $1";
    (owner: &'a str => Text) -> Bool
}

/// Whether this user may act as the owner; `None` if the roles were not set up.
pub(crate) async fn acts_as_owner(conn: &mut AsyncPgConnection) -> Result<Option<bool>, Error> {
    let acting = FindActing { owner: OWNER }.get_result(conn).await;
    Ok(acting.optional()?)
}

statement! {
    FindMaker = "SELECT current_user::text, \
            coalesce(has_schema_privilege(current_schema(), 'CREATE'), false)";
    () -> (Text, Bool)
}

/// The user, and whether the user may create tables.
pub(crate) async fn maker(conn: &mut AsyncPgConnection) -> Result<(String, bool), Error> {
    Ok(FindMaker {}.get_result(conn).await?)
}
