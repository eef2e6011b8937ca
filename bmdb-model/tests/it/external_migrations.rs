//! Migrations of a downstream user, beside bmdb's.

use bmdb_model::migration::{
    self, MigrationError, newest_known, revert_last, revert_last_of, run_all_of,
};
use bmdb_testkit::TestDb;
use diesel_migrations::FileBasedMigrations;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder of migrations, gone with the value.
struct Folder(PathBuf);

impl Folder {
    fn with(migrations: &[(&str, &str)]) -> Self {
        let folder = Self(std::env::temp_dir().join(format!("bmdb-{}", uuid::Uuid::new_v4())));
        for (name, up) in migrations {
            let migration = folder.0.join(name);
            fs::create_dir_all(&migration).unwrap();
            fs::write(migration.join("up.sql"), up).unwrap();
            let table = up.split_whitespace().nth(2).unwrap();
            fs::write(migration.join("down.sql"), format!("DROP TABLE {table}")).unwrap();
        }
        folder
    }

    fn source(&self) -> FileBasedMigrations {
        FileBasedMigrations::from_path(Path::new(&self.0)).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

const RACKS: (&str, &str) = (
    "2027-01-01-000000_racks",
    "CREATE TABLE racks (machine_id uuid REFERENCES machines)",
);

#[tokio::test]
async fn external_migrations_run_once_after_bmdbs() {
    let db = TestDb::new().await.unwrap();
    let folder = Folder::with(&[RACKS]);
    for expected in [vec!["20270101000000"], vec![]] {
        let conn = db.connect().await.unwrap();
        assert_eq!(run_all_of(conn, folder.source()).await.unwrap(), expected);
    }
    // They do not affect bmdb.
    let mut conn = db.connect().await.unwrap();
    migration::check(&mut conn).await.unwrap();
}

#[tokio::test]
async fn a_version_that_bmdb_uses_is_refused_and_not_skipped() {
    let db = TestDb::new().await.unwrap();
    let folder = Folder::with(&[RACKS, ("2026-11-22-000200_units", "CREATE TABLE units ()")]);
    let conn = db.connect().await.unwrap();
    let error = run_all_of(conn, folder.source()).await.unwrap_err();
    assert!(
        matches!(error, MigrationError::VersionTaken { .. }),
        "{error}"
    );
    assert_eq!(
        error.to_string(),
        "the migrations 2026-11-22-000200_units and 2026-11-22-000200_os_installation have the \
         same version: rename yours"
    );
    let racks = db.rows("SELECT to_regclass('racks')").await.unwrap();
    assert_eq!(racks, [""], "nothing was run");
}

#[tokio::test]
async fn two_external_migrations_with_one_version_are_refused() {
    let db = TestDb::new().await.unwrap();
    let folder = Folder::with(&[RACKS, ("2027-01-01-000000_units", "CREATE TABLE units ()")]);
    let conn = db.connect().await.unwrap();
    let error = run_all_of(conn, folder.source()).await.unwrap_err();
    assert!(
        matches!(error, MigrationError::VersionTaken { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_failed_migration_is_named_and_those_before_it_stay() {
    let db = TestDb::new().await.unwrap();
    let folder = Folder::with(&[
        RACKS,
        ("2027-01-02-000000_units", "CREATE TABLE units (rack t)"),
    ]);
    let conn = db.connect().await.unwrap();
    let error = run_all_of(conn, folder.source()).await.unwrap_err();
    let said = error.to_string();
    for part in ["2027-01-02-000000_units", "type \"t\" does not exist"] {
        assert!(said.contains(part), "{said}");
    }
    let racks = db.rows("SELECT to_regclass('racks')").await.unwrap();
    assert_eq!(racks, ["racks"]);
}

#[tokio::test]
async fn external_migrations_are_reverted_alone_and_block_reverting_bmdbs_beneath_them() {
    let db = TestDb::new().await.unwrap();
    let units = ("2027-01-02-000000_units", "CREATE TABLE units ()");
    let folder = Folder::with(&[RACKS, units]);
    let connect = async || db.connect().await.unwrap();
    run_all_of(connect().await, folder.source()).await.unwrap();
    // A release of bmdb that came later.
    db.run_sql("INSERT INTO __diesel_schema_migrations (version) VALUES ('20270201000000')")
        .await
        .unwrap();

    let beneath = revert_last(connect().await, 1).await.unwrap_err();
    assert!(
        matches!(&beneath, MigrationError::BuiltUpon { version, newer }
            if *version == newest_known() && newer == "20270101000000"),
        "{beneath}"
    );
    for expected in [vec!["20270102000000"], vec!["20270101000000"], vec![]] {
        let reverted = revert_last_of(connect().await, folder.source(), 1).await;
        assert_eq!(reverted.unwrap(), expected);
    }
    db.run_sql("DELETE FROM __diesel_schema_migrations WHERE version = '20270201000000'")
        .await
        .unwrap();
    assert_eq!(
        revert_last(connect().await, 1).await.unwrap(),
        [newest_known()]
    );
}
