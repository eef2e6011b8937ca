//! `bmdb migrate`.

use crate::bmdb::{as_owner, bmdb};
use bmdb_testkit::TestDb;

#[tokio::test]
async fn a_migrated_database_fits() {
    let db = TestDb::new().await.unwrap();
    let status = bmdb(&db).args(["migrate", "status", "--json"]).run().json();
    assert_eq!(status["fits"], true);
    let states = status["migrations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| &m["state"]);
    assert!(
        states.into_iter().all(|state| state == "applied"),
        "{status}"
    );
}

#[tokio::test]
async fn an_empty_database_is_told_what_it_lacks() {
    let db = TestDb::empty().await.unwrap();
    let status = as_owner(&db)
        .args(["migrate", "status", "--json"])
        .run()
        .json();
    assert_eq!(status["fits"], false);
    let problem = status["problem"].as_str().unwrap();
    assert!(problem.contains("`bmdb migrate up`"), "{problem}");
}
