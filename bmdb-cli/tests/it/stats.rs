//! `bmdb stats`.

use crate::bmdb::bmdb;
use bmdb_model::Provider;
use bmdb_testkit::TestDb;

#[tokio::test]
async fn an_empty_database_has_numbers_and_a_word_on_what_to_do() {
    let db = TestDb::new().await.unwrap();
    let ran = bmdb(&db).args(["stats"]).run();
    assert!(
        ran.stdout.starts_with("machines         0\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("bmdb machine import"), "{}", ran.stdout);
}

#[tokio::test]
async fn the_fleet_in_numbers_has_a_schema() {
    let db = TestDb::new().await.unwrap();
    db.machine()
        .provided(&Provider::EQUINIX, "a")
        .planned()
        .create()
        .await
        .unwrap();
    let ran = bmdb(&db).args(["stats", "--json"]).run();
    insta::assert_json_snapshot!(ran.redacted());
    assert_eq!(ran.stdout.lines().count(), 1, "one object a line in a pipe");
}

#[tokio::test]
async fn the_table_names_every_process_that_has_work() {
    let db = TestDb::new().await.unwrap();
    db.machine()
        .provided(&Provider::EQUINIX, "a")
        .planned()
        .create()
        .await
        .unwrap();
    let ran = bmdb(&db).args(["stats"]).run();
    let table: Vec<&str> = ran
        .stdout
        .lines()
        .skip_while(|line| !line.is_empty())
        .collect();
    insta::assert_snapshot!(table.join("\n"));
}
