//! Which releases are compatible with which databases.

use bmdb_model::migration::{
    MigrationError, check, check_not_too_old, known, newest_known, run_pending, status,
};
use bmdb_testkit::TestDb;

/// Any version that a later release might bring.
const FUTURE: &str = "20991231000000";

async fn demand(db: &TestDb, oldest_compatible: &str) {
    let mark = format!("UPDATE schema_compatibility SET oldest_compatible = '{oldest_compatible}'");
    db.run_sql(&mark).await.unwrap();
}

#[tokio::test]
async fn a_database_without_migrations_is_too_old_and_the_error_names_the_first_missing_one() {
    let db = TestDb::empty().await.unwrap();
    let mut conn = db.connect().await.unwrap();
    check_not_too_old(&mut conn)
        .await
        .expect("an empty database has not moved past anything");
    let error = check(&mut conn).await.unwrap_err();
    let missing: Vec<String> = known().into_iter().map(|(version, _)| version).collect();
    let said = format!(
        "the database is not migrated: {} of this release's migrations are missing (first \
         20261122000100): run `bmdb migrate up` (`Bmdb::migrate`)",
        missing.len()
    );
    assert_eq!(error.to_string(), said);
    assert!(matches!(error, MigrationError::DatabaseTooOld { pending } if pending == missing));
}

#[tokio::test]
async fn a_database_of_the_previous_release_lacks_only_the_newest_migration() {
    let (previous, _) = known().into_iter().rev().nth(1).unwrap();
    let db = TestDb::at_version(&previous).await.unwrap();
    let error = check(&mut db.connect().await.unwrap()).await.unwrap_err();
    assert!(
        matches!(error, MigrationError::DatabaseTooOld { pending } if pending == [newest_known()])
    );
}

#[tokio::test]
async fn a_database_that_demands_newer_components_refuses_this_one_even_as_a_migrator() {
    let db = TestDb::new().await.unwrap();
    demand(&db, FUTURE).await;
    let mut conn = db.connect().await.unwrap();
    let refusals = [
        check_not_too_old(&mut conn).await.unwrap_err(),
        check(&mut conn).await.unwrap_err(),
        run_pending(conn).await.unwrap_err(),
    ];
    let said = format!(
        "the database requires components that know migration 20991231000000 or newer; this one \
         knows only up to {}: upgrade this component",
        newest_known()
    );
    for refusal in refusals {
        assert_eq!(refusal.to_string(), said);
        assert!(matches!(refusal, MigrationError::ComponentTooOld { .. }));
    }
}

#[tokio::test]
async fn a_newer_database_that_is_still_compatible_works() {
    let db = TestDb::new().await.unwrap();
    demand(&db, &newest_known()).await;
    let newer = format!("INSERT INTO __diesel_schema_migrations (version) VALUES ('{FUTURE}')");
    db.run_sql(&newer).await.unwrap();

    let mut conn = db.connect().await.unwrap();
    check(&mut conn).await.unwrap();
    let newest = status(&mut conn).await.unwrap().pop().unwrap();
    assert_eq!(
        (newest.version.as_str(), newest.applied, newest.known),
        (FUTURE, true, false)
    );
    assert_eq!(run_pending(conn).await.unwrap(), [""; 0]);
}
