//! `bmdb migrate`.

use crate::bmdb::{as_owner, at, bmdb, locked};
use crate::schemas::documented;
use bmdb_model::migration;
use bmdb_testkit::{Role, TestDb};
use std::sync::Arc;

#[tokio::test]
async fn a_migrated_database_fits() {
    let db = TestDb::new().await.unwrap();
    let status = bmdb(&db).args(["migrate", "status", "--json"]).run();
    documented("bmdb migrate status", &status);
    let status = status.json();
    assert_eq!(status["fits"], true);
    let mut states = status["migrations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["state"]);
    assert!(states.all(|state| state == "applied"), "{status}");
    let text = bmdb(&db).args(["migrate", "status"]).run().stdout;
    assert!(
        text.ends_with("This program can work with the database.\n"),
        "{text}"
    );
}

#[tokio::test]
async fn an_empty_database_needs_migrations_and_gets_them_once() {
    let db = TestDb::empty().await.unwrap();
    let status = as_owner(&db)
        .args(["migrate", "status", "--json"])
        .run()
        .json();
    assert_eq!(status["fits"], false);
    let problem = status["problem"].as_str().unwrap();
    assert!(problem.contains("`bmdb migrate up`"), "{problem}");

    let up = as_owner(&db).args(["migrate", "up", "--json"]).run();
    documented("bmdb migrate up", &up);
    let up = up.json();
    let applied: Vec<_> = up["applied"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m["version"].clone())
        .collect();
    let known: Vec<_> = migration::known()
        .into_iter()
        .map(|(version, _)| version)
        .collect();
    assert_eq!(applied, known);
    let again = as_owner(&db).args(["migrate", "up"]).run().stdout;
    assert!(again.starts_with("Nothing to do"), "{again}");
    as_owner(&db).args(["stats"]).run();
}

#[tokio::test]
async fn reverting_needs_confirmation_and_reverts_the_given_number() {
    let db = TestDb::new().await.unwrap();
    let newest = migration::newest_known();
    let asked = as_owner(&db)
        .args(["migrate", "down"])
        .fails_with(2, "add --yes to confirm");
    assert!(
        asked.stderr.contains(&newest.replace('-', "")[8..]),
        "{asked:?}"
    );
    let down = as_owner(&db)
        .args(["migrate", "down", "--yes", "--json"])
        .run();
    documented("bmdb migrate down", &down);
    let down = down.json();
    assert_eq!(down["reverted"][0]["version"], newest);
    assert_eq!(down["reverted"].as_array().unwrap().len(), 1);
    as_owner(&db)
        .args(["stats"])
        .fails_with(6, "1 of this release's migrations are missing");
}

#[tokio::test]
async fn a_database_of_a_newer_release_needs_a_newer_program() {
    let db = TestDb::new().await.unwrap();
    db.run_sql("UPDATE schema_compatibility SET oldest_compatible = '29990101000000'")
        .await
        .unwrap();
    as_owner(&db)
        .args(["stats"])
        .fails_with(6, "upgrade this component");
    as_owner(&db)
        .args(["migrate", "up"])
        .fails_with(6, "upgrade this component");
    let status = as_owner(&db)
        .args(["migrate", "status", "--json"])
        .run()
        .json();
    assert_eq!(status["fits"], false);
}

#[tokio::test]
async fn a_login_that_may_not_change_the_schema_is_refused() {
    let db = TestDb::new().await.unwrap();
    as_owner(&db).args(["migrate", "down", "--yes"]).run();
    let component = db.url_as(Role::Component).await.unwrap();
    at(&component)
        .args(["migrate", "up"])
        .fails_with(7, "bmdb_owner");
}

#[tokio::test]
async fn a_blocked_migration_names_the_blocking_session() {
    // The migration after this version changes tables in use.
    let db = Arc::new(TestDb::at_version("20261122000500").await.unwrap());
    let holder = locked(&db, "machines, sessions, work_item, work_attempt").await;
    let up = ["migrate", "up", "--give-up-after=1", "--lock-timeout=1"];
    as_owner(&db).args(up).fails_with(4, "held by pid");
    holder.abort();
}

#[tokio::test]
async fn grants_can_be_printed_before_they_are_applied() {
    let db = TestDb::new().await.unwrap();
    let printed = as_owner(&db)
        .args(["migrate", "grants", "--print"])
        .run()
        .stdout;
    assert!(printed.contains("GRANT SELECT"), "{printed}");
    assert!(printed.lines().all(|line| line.ends_with(';')), "{printed}");
    let as_json = as_owner(&db)
        .args(["migrate", "grants", "--print", "--json"])
        .run()
        .json();
    assert_eq!(as_json["ran"], false);
    let done = as_owner(&db).args(["migrate", "grants", "--json"]).run();
    documented("bmdb migrate grants", &done);
    let done = done.json();
    assert_eq!(done["ran"], true);
    let viewer = db.url_as(Role::Viewer).await.unwrap();
    at(&viewer).args(["stats"]).run();
    at(&viewer)
        .args(["machine", "create"])
        .fails_with(7, "permission denied");
}

/// What could not be recorded there was done again, for ever.
#[tokio::test]
async fn a_database_that_is_not_in_utf_8_is_not_migrated_and_ends_with_6() {
    let db = TestDb::empty().await.unwrap();
    let name = format!("{}_latin1", db.name());
    let create = format!(
        "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    );
    db.run_sql(&create).await.unwrap();
    let url = db.admin_url().replace(db.name(), &name);
    for verb in ["up", "status"] {
        let expected = "the encoding of the database is LATIN1";
        at(&url).args(["migrate", verb]).fails_with(6, expected);
    }
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    db.run_sql(&drop).await.unwrap();
}
