//! The privileges of each role, read from the catalog, so that tables of later migrations are covered.

use bmdb_model::ErrorKind;
use bmdb_model::grants::{self, GrantError};
use bmdb_model::migration::{self, MigrationError, revert_last, run_pending, run_up_to};
use bmdb_testkit::{Role, TestDb};
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};

async fn as_role(db: &TestDb, role: Role) -> AsyncPgConnection {
    let url = db.url_as(role).await.unwrap();
    AsyncPgConnection::establish(&url).await.unwrap()
}

/// Whether the statement fails because the role lacks a privilege, or because it can never succeed.
async fn is_refused(conn: &mut AsyncPgConnection, sql: &str) -> bool {
    match conn.batch_execute(sql).await {
        Ok(()) => false,
        Err(error) => {
            let message = error.to_string();
            let never = message.starts_with("cannot ") || message.ends_with(" is not a table");
            assert!(
                never || ErrorKind::from(&error) == ErrorKind::Denied,
                "{sql}: {message}"
            );
            true
        }
    }
}

/// Whether the role lacks the privilege for it; a statement with another error is a mistake in it.
async fn is_denied(conn: &mut AsyncPgConnection, sql: &str) -> bool {
    match conn.batch_execute(sql).await {
        Ok(()) => false,
        Err(error) => {
            assert_eq!(ErrorKind::from(&error), ErrorKind::Denied, "{sql}: {error}");
            true
        }
    }
}

/// A migrated database without roles, whatever user the tests run as.
async fn ungranted() -> TestDb {
    let db = TestDb::empty().await.unwrap();
    run_pending(db.connect().await.unwrap()).await.unwrap();
    db
}

async fn relations(db: &TestDb, kinds: &str) -> Vec<String> {
    let found = db
        .rows(&format!(
            "SELECT c.oid::regclass FROM pg_class c
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ({kinds}) ORDER BY 1"
        ))
        .await
        .unwrap();
    assert!(!found.is_empty());
    found
}

async fn columns(db: &TestDb, relation: &str) -> String {
    let columns = format!(
        "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = '{relation}'::regclass AND attnum > 0 AND attgenerated = '' AND attidentity = ''"
    );
    db.rows(&columns).await.unwrap().concat()
}

/// One statement of each kind that writes to a table or view.
async fn writes(db: &TestDb, relation: &str) -> [String; 4] {
    let columns = columns(db, relation).await;
    let first = columns.split(", ").next().unwrap();
    [
        format!("INSERT INTO {relation} ({columns}) SELECT {columns} FROM {relation} LIMIT 0"),
        format!("UPDATE {relation} SET {first} = {first} WHERE false"),
        format!("DELETE FROM {relation} WHERE false"),
        format!("TRUNCATE {relation}"),
    ]
}

#[tokio::test]
async fn a_viewer_reads_every_table_and_view_and_writes_nothing() {
    let db = TestDb::new().await.unwrap();
    let mut viewer = as_role(&db, Role::Viewer).await;
    for relation in relations(&db, "'r', 'p', 'v', 'm'").await {
        let read = format!("SELECT count(*) FROM {relation}");
        assert!(!is_denied(&mut viewer, &read).await, "{relation}");
        for write in writes(&db, &relation).await {
            assert!(is_refused(&mut viewer, &write).await, "{write}");
        }
        let lock = format!("LOCK {relation} IN ROW EXCLUSIVE MODE");
        viewer.batch_execute("BEGIN").await.unwrap();
        assert!(is_refused(&mut viewer, &lock).await, "{lock}");
        viewer.batch_execute("ROLLBACK").await.unwrap();
    }
    for sequence in relations(&db, "'S'").await {
        for call in ["nextval('{}')", "setval('{}', 1)"] {
            let call = format!("SELECT {}", call.replace("{}", &sequence));
            assert!(is_denied(&mut viewer, &call).await, "{call}");
        }
    }
}

/// Statements that only the owner may run.
const OWNERS: &[&str] = &[
    "CREATE TABLE mine ()",
    "CREATE TEMPORARY TABLE mine ()",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE SCHEMA mine",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SEQUENCE mine",
    "CREATE INDEX ON machines (machine_version)",
    "ALTER TABLE machines ADD COLUMN mine int",
    "ALTER TABLE work_item DROP CONSTRAINT work_item_pkey",
    "DROP TABLE machine_hold",
    "DROP INDEX work_item_lane",
    "CREATE OR REPLACE VIEW workflow_agent_start AS SELECT * FROM workflow_agent_recovery",
    "ALTER TABLE machines OWNER TO CURRENT_USER",
    "SET ROLE bmdb_owner",
    "CREATE ROLE mine",
    "UPDATE process_def SET workflow = 'workflow_agent_recovery'",
    "UPDATE schema_compatibility SET oldest_compatible = '99999999999999'",
    "DELETE FROM __diesel_schema_migrations",
];

/// Statements that only the server's administrator may run.
const ADMINISTRATORS: &[&str] = &[
    "SELECT rolpassword FROM pg_authid",
    "SELECT passwd FROM pg_shadow",
    "SELECT * FROM pg_read_file('postgresql.conf')",
    "SELECT * FROM pg_ls_dir('.')",
    "COPY machines TO PROGRAM 'cat'",
    "COPY machines TO '/tmp/bmdb-stolen'",
    "SET session_replication_role = replica",
    "ALTER SYSTEM SET fsync = off",
    "CREATE ROLE mine",
];

#[tokio::test]
async fn a_component_writes_rows_and_nothing_else() {
    let db = TestDb::new().await.unwrap();
    let mut component = as_role(&db, Role::Component).await;
    let guarded = [
        "process_def",
        "schema_compatibility",
        "__diesel_schema_migrations",
    ];
    for table in relations(&db, "'r', 'p'").await {
        let is_guarded = guarded.contains(&table.as_str());
        let is_appended = table == "operator_action";
        let [insert, update, delete, truncate] = writes(&db, &table).await;
        for (write, denied) in [
            (insert, is_guarded),
            (update, is_guarded || is_appended),
            (delete, is_guarded || is_appended),
        ] {
            assert_eq!(is_denied(&mut component, &write).await, denied, "{write}");
        }
        assert!(is_denied(&mut component, &truncate).await, "{truncate}");
    }
    for view in relations(&db, "'v', 'm'").await {
        for write in writes(&db, &view).await {
            assert!(is_refused(&mut component, &write).await, "{write}");
        }
    }
    assert!(!is_denied(&mut component, "SELECT nextval('work_fence')").await);
    assert!(is_denied(&mut component, "SELECT setval('work_fence', 1)").await);
    for statement in OWNERS {
        let refused = component.batch_execute(statement).await.unwrap_err();
        assert_eq!(
            ErrorKind::from(&refused),
            ErrorKind::Denied,
            "{statement}: {refused}"
        );
    }
}

#[tokio::test]
async fn no_role_reads_the_servers_secrets_and_files() {
    let db = TestDb::new().await.unwrap();
    for role in [Role::Owner, Role::Component, Role::Viewer] {
        let mut conn = as_role(&db, role).await;
        for statement in ADMINISTRATORS {
            let refused = conn.batch_execute(statement).await.unwrap_err().to_string();
            let denied = ["permission denied", "must be superuser"]
                .iter()
                .any(|reason| refused.contains(reason));
            assert!(denied, "{role:?}: {statement}: {refused}");
        }
    }
}

#[tokio::test]
async fn a_login_without_a_role_may_not_connect() {
    let db = TestDb::new().await.unwrap();
    db.url_as(Role::Viewer).await.unwrap();
    let public = "SELECT has_database_privilege('public', current_database(), p)
                  FROM unnest(ARRAY['CONNECT', 'TEMPORARY', 'CREATE']) p
                  UNION ALL SELECT has_schema_privilege('public', 'public', p)
                  FROM unnest(ARRAY['USAGE', 'CREATE']) p";
    assert_eq!(db.rows(public).await.unwrap(), ["f"; 5]);
}

#[tokio::test]
async fn setting_up_the_roles_again_changes_nothing_and_needs_few_privileges() {
    let db = ungranted().await;
    let mut conn = db.connect().await.unwrap();
    let planned = grants::statements(&mut conn).await.unwrap();
    assert!(
        planned
            .iter()
            .any(|s| s == "ALTER TABLE public.machines OWNER TO bmdb_owner")
    );
    grants::apply(&mut conn).await.unwrap();
    let privileges = "
        SELECT c.relname, c.relowner::regrole, array(SELECT x::text FROM unnest(c.relacl) x ORDER BY 1)
        FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace
        UNION ALL
        SELECT 'defaults', d.defaclrole::regrole, array(SELECT x::text FROM unnest(d.defaclacl) x ORDER BY 1)
        FROM pg_default_acl d
        UNION ALL
        SELECT d.datname, d.datdba::regrole, array(SELECT x::text FROM unnest(d.datacl) x ORDER BY 1)
        FROM pg_database d WHERE d.datname = current_database() ORDER BY 1, 3";
    let once = db.rows(privileges).await.unwrap();
    let again = grants::apply(&mut conn).await.unwrap();
    assert!(!again.iter().any(|s| s.contains(" OWNER TO ")), "{again:?}");
    assert_eq!(db.rows(privileges).await.unwrap(), once);
}

#[tokio::test]
async fn databases_of_a_server_may_be_set_up_at_the_same_time() {
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..4 {
        all.spawn(async {
            let db = TestDb::new().await.unwrap();
            let (mut one, mut other) = (db.connect().await.unwrap(), db.connect().await.unwrap());
            let (one, other) = tokio::join!(grants::apply(&mut one), grants::apply(&mut other));
            (one.map(drop), other.map(drop))
        });
    }
    for (one, other) in all.join_all().await {
        one.unwrap();
        other.unwrap();
    }
}

#[tokio::test]
async fn tables_that_a_member_of_the_owner_migrates_belong_to_the_owner_and_components_may_write_them()
 {
    let db = TestDb::empty().await.unwrap();
    let owner = || async { as_role(&db, Role::Owner).await };
    for _ in 0..2 {
        run_pending(owner().await).await.unwrap();
        let foreign = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace
                       AND relowner <> 'bmdb_owner'::regrole";
        assert_eq!(db.rows(foreign).await.unwrap(), [""; 0]);

        let mut component = as_role(&db, Role::Component).await;
        let work = "INSERT INTO machines (machine_id) VALUES (gen_random_uuid());
                    SELECT nextval('work_fence')";
        component.batch_execute(work).await.unwrap();
        for statement in OWNERS {
            assert!(is_denied(&mut component, statement).await, "{statement}");
        }
        let mut viewer = as_role(&db, Role::Viewer).await;
        viewer
            .batch_execute("SELECT FROM work_history")
            .await
            .unwrap();
        revert_last(owner().await, usize::MAX).await.unwrap();
    }
}

#[tokio::test]
async fn components_may_never_change_audit_records() {
    let db = TestDb::empty().await.unwrap();
    let owner = as_role(&db, Role::Owner).await;
    run_up_to(owner, "20261123000100").await.unwrap();
    // Without what a migrator does afterwards, who may be killed before.
    let made = include_str!("../../migrations/2026-11-23-000200_operators/up.sql");
    let mut owner = as_role(&db, Role::Owner).await;
    owner.batch_execute("SET ROLE bmdb_owner").await.unwrap();
    owner.batch_execute(made).await.unwrap();
    let mut component = as_role(&db, Role::Component).await;
    let add = "INSERT INTO operator_action (verb, operator) VALUES ('SetTag', 'ann')";
    assert!(!is_denied(&mut component, add).await);
    for change in [
        "UPDATE operator_action SET operator = 'bob'",
        "DELETE FROM operator_action",
    ] {
        assert!(is_denied(&mut component, change).await, "{change}");
    }
}

#[tokio::test]
async fn a_users_tables_views_and_functions_are_covered_whenever_they_are_created() {
    let db = ungranted().await;
    let before = "CREATE TABLE racks (rack_id bigserial PRIMARY KEY, name text);
                  CREATE VIEW rack_names AS SELECT name FROM racks;
                  CREATE FUNCTION racks() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM racks'";
    db.run_sql(before).await.unwrap();
    as_role(&db, Role::Owner)
        .await
        .batch_execute(
            "SET ROLE bmdb_owner;
             CREATE TABLE shelves (shelf_id bigint GENERATED ALWAYS AS IDENTITY, name text);
             CREATE TABLE prices (price int);
             REVOKE ALL ON prices FROM bmdb_component;
             CREATE FUNCTION shelves() RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM shelves'",
        )
        .await
        .unwrap();
    let mut conn = db.connect().await.unwrap();
    grants::apply(&mut conn).await.unwrap();

    let (mut component, mut viewer) = (
        as_role(&db, Role::Component).await,
        as_role(&db, Role::Viewer).await,
    );
    let work = "INSERT INTO racks (name) VALUES ('A1'); INSERT INTO shelves (name) VALUES ('1');
                SELECT racks() + shelves(), count(*) FROM rack_names";
    component.batch_execute(work).await.unwrap();
    for denied in ["UPDATE rack_names SET name = 'A2'", "SELECT FROM prices"] {
        assert!(is_denied(&mut component, denied).await, "{denied}");
    }
    viewer
        .batch_execute("SELECT FROM racks, shelves, rack_names, prices")
        .await
        .unwrap();
    for denied in [
        "SELECT racks()",
        "SELECT shelves()",
        "DELETE FROM racks",
        "DELETE FROM shelves",
    ] {
        assert!(is_denied(&mut viewer, denied).await, "{denied}");
    }
}

#[tokio::test]
async fn a_component_finds_a_migrated_database_migrated_and_may_not_migrate_another() {
    let db = TestDb::new().await.unwrap();
    let component = || async { as_role(&db, Role::Component).await };
    assert_eq!(run_pending(component().await).await.unwrap(), [""; 0]);

    let admin = db.connect().await.unwrap();
    let reverted = revert_last(admin, 1).await.unwrap();
    let refused = run_pending(component().await).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "\"bmdb_test_component\" may not change the schema: migrate as a login that is a member of \
         bmdb_owner"
    );
    assert!(matches!(refused, MigrationError::MayNotMigrate { .. }));
    let status = migration::status(&mut component().await).await.unwrap();
    assert_eq!(status.iter().filter(|m| !m.applied).count(), reverted.len());
}

#[tokio::test]
async fn a_user_who_may_not_create_roles_or_grant_is_refused_and_nothing_changes() {
    let db = TestDb::new().await.unwrap();
    // The roles are there by now; the login has nothing to give.
    let mut conn = as_role(&db, Role::Component).await;
    let refused = grants::apply(&mut conn).await.unwrap_err();
    let GrantError::Refused { statement, reason } = refused else {
        panic!("{refused}");
    };
    assert_eq!(statement, "GRANT bmdb_owner TO \"bmdb_test_component\"");
    assert_ne!(reason.kind(), ErrorKind::ConnectionLost, "{reason}");
    // No transaction is left open.
    conn.batch_execute("SELECT FROM machines").await.unwrap();
}

#[tokio::test]
async fn the_databases_owner_with_createrole_need_not_be_a_superuser() {
    let db = TestDb::empty().await.unwrap();
    let mut conn = db.connect().await.unwrap();
    // From version 16 on the creator of a role may grant it; here that is the kit's user.
    let admin = format!("{}_admin", db.name());
    let make = format!(
        "CREATE ROLE {admin} LOGIN CREATEROLE;
         ALTER DATABASE {} OWNER TO {admin}; ALTER SCHEMA public OWNER TO {admin}",
        db.name()
    );
    grants::apply(&mut db.connect().await.unwrap())
        .await
        .unwrap();
    conn.batch_execute(&make).await.unwrap();
    conn.batch_execute(&format!("GRANT bmdb_owner TO {admin} WITH ADMIN OPTION"))
        .await
        .unwrap();
    let url = format!("{}&user={admin}", db.admin_url());
    let connect = async || AsyncPgConnection::establish(&url).await.unwrap();
    run_pending(connect().await).await.unwrap();
    grants::apply(&mut connect().await).await.unwrap();

    let mut component = as_role(&db, Role::Component).await;
    component
        .batch_execute("SELECT FROM machines")
        .await
        .unwrap();
    let mut viewer = as_role(&db, Role::Viewer).await;
    assert!(is_denied(&mut viewer, "DELETE FROM machines").await);
    revert_last(connect().await, usize::MAX).await.unwrap();
    run_pending(connect().await).await.unwrap();
    let drop = format!(
        "REASSIGN OWNED BY {admin} TO CURRENT_USER; DROP OWNED BY {admin}; DROP ROLE {admin}"
    );
    conn.batch_execute(&drop).await.unwrap();
}
