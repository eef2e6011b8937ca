//! `bmdb stats`.

use crate::bmdb::{bmdb, due_machine};
use crate::schemas::documented;
use bmdb_model::Provider;
use bmdb_testkit::TestDb;
use std::time::Duration;

#[tokio::test]
async fn an_empty_database_has_numbers_and_a_hint() {
    let db = TestDb::new().await.unwrap();
    let ran = bmdb(&db).args(["stats"]).run();
    assert!(
        ran.stdout.starts_with("machines          0\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("bmdb machine import"), "{}", ran.stdout);
}

#[tokio::test]
async fn the_numbers_of_the_fleet_have_a_schema() {
    let db = TestDb::new().await.unwrap();
    due_machine(&db, "a").await;
    let ran = bmdb(&db).args(["stats", "--json"]).run();
    documented("bmdb stats", &ran);
    let mut answer = ran.redacted();
    for process in answer["processes"].as_array_mut().unwrap() {
        if process["oldest_due_seconds"].is_number() {
            process["oldest_due_seconds"] = "[seconds]".into();
        }
    }
    insta::assert_json_snapshot!(answer);
    assert_eq!(ran.stdout.lines().count(), 1, "one object a line in a pipe");
}

#[tokio::test]
async fn the_table_names_every_process() {
    let db = TestDb::new().await.unwrap();
    due_machine(&db, "a").await;
    let ran = bmdb(&db).args(["stats"]).run();
    let table: Vec<&str> = ran
        .stdout
        .lines()
        .skip_while(|line| !line.is_empty())
        .collect();
    // A slow computer takes a second or two.
    let lines = table
        .iter()
        .map(|line| line.replace(" 1s ", " 0s ").replace(" 2s ", " 0s "));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[tokio::test]
async fn due_machines_are_counted_by_the_workflow_with_the_oldest_time() {
    let db = TestDb::new().await.unwrap();
    let silent = db
        .machine()
        .provided(&Provider::EQUINIX, "a")
        .agent_started(Duration::from_secs(2 * 3600))
        .planned();
    silent.create().await.unwrap();
    let stats = bmdb(&db).args(["stats", "--json"]).run().json();
    let processes = stats["processes"].as_array().unwrap();
    let of = |name: &str| {
        let found = processes.iter().find(|process| process["process"] == name);
        found.unwrap().clone()
    };
    let recovery = of("ShepherdRecovery");
    assert_eq!(recovery["due"], 1, "{recovery}");
    let oldest = recovery["oldest_due_seconds"].as_i64().unwrap();
    assert!((3600..2 * 3600 + 60).contains(&oldest), "{recovery}");
    let start = of("ShepherdAgentStart");
    assert_eq!(
        (&start["due"], start["oldest_due_seconds"].is_null()),
        (&0.into(), true)
    );
    let table = bmdb(&db).args(["stats"]).run().stdout;
    assert!(!table.contains('?') && table.contains("OLDEST"), "{table}");
}

#[tokio::test]
async fn a_failing_workflow_leaves_the_numbers_of_other_processes_intact() {
    let db = TestDb::new().await.unwrap();
    due_machine(&db, "a").await;
    db.run_sql(
        "UPDATE process_def SET workflow = 'no_such_view' WHERE process = 'ShepherdRecovery'",
    )
    .await
    .unwrap();
    let ran = bmdb(&db).args(["stats", "--json"]).run();
    let stats = ran.json();
    let due = |name: &str| {
        let processes = stats["processes"].as_array().unwrap();
        processes.iter().find(|p| p["process"] == name).unwrap()["due"].clone()
    };
    assert!(due("ShepherdRecovery").is_null(), "{stats}");
    assert_eq!(due("ShepherdAgentStart"), 1);
    assert!(ran.stderr.contains("cannot count a workflow"), "{ran:?}");
}
