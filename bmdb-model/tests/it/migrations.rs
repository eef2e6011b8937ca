//! Migrating: up and down, twice, and by several migrators at once.

use crate::schema_snapshots::versions;
use bmdb_model::migration::{
    self, MigrationError, newest_known, revert_last, revert_these, run_pending, run_up_to,
};
use bmdb_testkit::TestDb;

const INSERTED: &str = "
    SELECT p::text FROM process_def p UNION ALL SELECT c::text FROM schema_compatibility c
    ORDER BY 1";

async fn catalog(db: &TestDb) -> Vec<String> {
    bmdb_testkit::catalog(db.admin_url()).await.unwrap()
}

/// All of it, including the rows that migrations insert.
pub(crate) async fn contents(db: &TestDb) -> Vec<String> {
    let catalog = catalog(db).await;
    if catalog
        .iter()
        .all(|row| !row.starts_with("table process_def"))
    {
        return catalog;
    }
    [catalog, db.rows(INSERTED).await.unwrap()].concat()
}

async fn up(db: &TestDb) -> Vec<String> {
    run_pending(db.connect().await.unwrap()).await.unwrap()
}

async fn down(db: &TestDb, count: usize) -> Vec<String> {
    revert_last(db.connect().await.unwrap(), count)
        .await
        .unwrap()
}

#[tokio::test]
async fn only_the_confirmed_migrations_are_reverted() {
    let db = TestDb::new().await.unwrap();
    let newest = newest_known();
    let revert = async || {
        let conn = db.connect().await.unwrap();
        revert_these(conn, vec![newest.clone()]).await
    };
    assert_eq!(revert().await.unwrap(), std::slice::from_ref(&newest));
    let again = revert().await.unwrap_err();
    assert!(
        matches!(again, MigrationError::NotTheNewest { .. }),
        "{again}"
    );
    assert_eq!(up(&db).await, [newest]);
}

#[tokio::test]
async fn all_the_way_down_leaves_nothing_behind_and_up_again_gives_the_same() {
    let db = TestDb::empty().await.unwrap();
    assert_eq!(catalog(&db).await, [""; 0]);
    let mut newest_first = versions();
    newest_first.reverse();

    assert_eq!(up(&db).await, versions());
    let migrated = contents(&db).await;
    for _ in 0..2 {
        assert_eq!(down(&db, usize::MAX).await, newest_first);
        let left: Vec<String> = catalog(&db).await;
        // The list of applied migrations is Diesel's.
        let ours = left
            .iter()
            .filter(|row| !row.contains("__diesel_schema_migrations"));
        assert_eq!(ours.collect::<Vec<_>>(), [""; 0]);
        assert_eq!(up(&db).await, versions());
        assert_eq!(contents(&db).await, migrated);
    }
}

#[tokio::test]
async fn every_single_migration_can_be_reverted_and_applied_again() {
    let db = TestDb::new().await.unwrap();
    let migrated = contents(&db).await;
    for count in 1..=versions().len() {
        let mut reverted = down(&db, count).await;
        reverted.reverse();
        assert_eq!(up(&db).await, reverted);
        assert_eq!(
            contents(&db).await,
            migrated,
            "after reverting {reverted:?}"
        );
    }
}

#[tokio::test]
async fn up_twice_changes_nothing_the_second_time() {
    let db = TestDb::empty().await.unwrap();
    up(&db).await;
    let migrated = contents(&db).await;
    assert_eq!(up(&db).await, [""; 0]);
    assert_eq!(contents(&db).await, migrated);
}

#[tokio::test]
async fn concurrent_migrators_all_succeed_and_apply_each_migration_once() {
    let db = TestDb::empty().await.unwrap();
    let (a, b, c) = tokio::join!(up(&db), up(&db), up(&db));
    let mut applied = [a, b, c].concat();
    applied.sort();
    assert_eq!(applied, versions());
    let recorded = "SELECT version FROM __diesel_schema_migrations ORDER BY 1";
    assert_eq!(db.rows(recorded).await.unwrap(), versions());
}

#[tokio::test]
async fn migrating_up_to_a_version_stops_there_and_the_status_shows_it() {
    let db = TestDb::empty().await.unwrap();
    let conn = db.connect().await.unwrap();
    let third = versions()[2].clone();
    assert_eq!(run_up_to(conn, &third).await.unwrap(), versions()[..3]);

    let mut conn = db.connect().await.unwrap();
    let status = migration::status(&mut conn).await.unwrap();
    let listed: Vec<_> = status
        .iter()
        .map(|m| (m.version.clone(), m.applied, m.known))
        .collect();
    let expected = versions().into_iter().map(|version| {
        let applied = version <= third;
        (version, applied, true)
    });
    assert_eq!(listed, expected.collect::<Vec<_>>());
}

#[tokio::test]
async fn a_migration_that_fails_is_rolled_back_and_those_before_it_stay() {
    let db = TestDb::empty().await.unwrap();
    // What the second migration makes is there already.
    db.run_sql("CREATE TABLE machine_hardware_report ()")
        .await
        .unwrap();
    let failed = run_pending(db.connect().await.unwrap()).await.unwrap_err();
    assert_eq!(
        failed.to_string(),
        "a migration failed: Failed to run 2026-11-22-000200_os_installation with: \
         relation \"machine_hardware_report\" already exists"
    );
    let recorded = "SELECT version FROM __diesel_schema_migrations ORDER BY 1";
    assert_eq!(db.rows(recorded).await.unwrap(), versions()[..1]);

    db.run_sql("DROP TABLE machine_hardware_report")
        .await
        .unwrap();
    assert_eq!(up(&db).await, versions()[1..]);
    assert_eq!(newest_known(), *versions().last().unwrap());
}
