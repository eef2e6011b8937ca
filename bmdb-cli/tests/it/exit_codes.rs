//! Exit codes, one for each next step of a script, and errors that say what to do.

use crate::bmdb::{as_owner, at, bmdb, nowhere};
use bmdb_testkit::{Role, TestDb};
use serde_json::Value;
use std::net::TcpListener;

/// A port of this computer that no program listens on.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn an_invalid_request_ends_with_2() {
    nowhere()
        .args(["stats", "--whatever"])
        .fails_with(2, "unexpected argument '--whatever'");
    nowhere()
        .args(["statz"])
        .fails_with(2, "a similar subcommand exists: 'stats'");
    at("postgres://[")
        .args(["stats"])
        .fails_with(2, "not a usable database URL");
    nowhere().fails_with(2, "Usage: bmdb");
}

#[test]
fn an_unreachable_database_ends_with_5_and_names_its_address() {
    let url = format!(
        "postgres://u:secret@127.0.0.1:{}/d?sslmode=disable",
        closed_port()
    );
    let ran = at(&url)
        .args(["stats"])
        .fails_with(5, "cannot reach the database server at 127.0.0.1");
    assert!(!ran.stderr.contains("secret"), "{ran:?}");
    assert_eq!(ran.stdout, "");
    let port = closed_port().to_string();
    nowhere()
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port)
        .env("PGSSLMODE", "disable")
        .args(["stats"])
        .fails_with(
            5,
            "hint: name the database with --database-url or BMDB_DATABASE_URL",
        );
}

#[tokio::test]
async fn a_database_without_the_schema_ends_with_6_and_says_how_to_migrate() {
    let db = TestDb::empty().await.unwrap();
    as_owner(&db)
        .args(["stats"])
        .fails_with(6, "run `bmdb migrate up`");
}

#[tokio::test]
async fn with_json_an_error_is_an_object_too() {
    let db = TestDb::empty().await.unwrap();
    let ran = as_owner(&db).args(["--json", "stats"]).output();
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "schema");
    assert_eq!(error["error"]["exit_code"], 6);
    let ran = bmdb(&db).args(["--json", "stats", "--what"]).output();
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["kind"], "usage");
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""));
}

#[tokio::test]
async fn a_missing_privilege_ends_with_7_and_names_the_role() {
    let db = TestDb::new().await.unwrap();
    let viewer = db.url_as(Role::Viewer).await.unwrap();
    // Without this check the janitor would run for ever and do nothing.
    for command in [&["machine", "create"][..], &["janitor"]] {
        let ran = at(&viewer).args(command).fails_with(7, "permission denied");
        let hint = "grant the login a role: bmdb_viewer to read, bmdb_component to work";
        assert!(ran.stderr.contains(hint), "{ran:?}");
    }
    at(&viewer)
        .args(["migrate", "grants"])
        .fails_with(7, "bmdb_owner");
}
