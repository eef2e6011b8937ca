//! `bmdb history --causes`, and the states and counts that say what keeps a process from starting.

use crate::bmdb::{bmdb, due_machine, worker};
use crate::schemas::documented;
use bmdb_core::Claim;
use bmdb_model::Process;
use bmdb_testkit::TestDb;

/// Fails on each of these new machines.
async fn failing(db: &TestDb, machines: &[&str], cause: &str) {
    for id in machines {
        due_machine(db, id).await;
    }
    let (_bmdb, session) = worker(db, "starter").await;
    let due = Claim::of(&Process::SHEPHERD_AGENT_START).limit(100);
    let retry = "initial=10m,max=4h,factor=2".parse().unwrap();
    for work in session.claim(&due).await.unwrap() {
        work.fail(&retry, cause).await.unwrap();
    }
}

#[tokio::test]
async fn causes_are_counted_by_text_and_name_a_machine() {
    let db = TestDb::new().await.unwrap();
    let none = bmdb(&db).args(["history", "--causes"]).run();
    assert_eq!(none.stdout, "Nothing is failing now.\n");
    failing(&db, &["a", "b"], "the API answers 429\nslow down").await;
    failing(&db, &["c"], "no route to host").await;
    let text = bmdb(&db).args(["history", "--causes"]).run().stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines[0].contains("MACHINES") && lines[0].contains("CAUSE"),
        "{text}"
    );
    assert!(
        lines[1].contains("2  ShepherdAgentStart  Equinix"),
        "{text}"
    );
    assert!(
        lines[1].contains(r"the API answers 429\nslow down"),
        "{text}"
    );
    assert!(lines[2].contains("no route to host"), "{text}");

    let ran = bmdb(&db)
        .args(["history", "--causes", "--json", "--limit=1"])
        .run();
    documented("bmdb history --causes", &ran);
    let answer = ran.json();
    assert_eq!(answer["is_more"], true);
    assert_eq!(answer["causes"][0]["machines"], 2);
    let of = |more: &[&str]| {
        let ran = bmdb(&db)
            .args(["history", "--causes", "--json"])
            .args(more)
            .run();
        ran.json()["causes"].as_array().unwrap().len()
    };
    assert_eq!(of(&["--process", "ShepherdAgentStart"]), 2);
    assert_eq!(of(&["--process", "ShepherdRecovery"]), 0);
    assert_eq!(of(&["--provider", "Equinix"]), 2);
    assert_eq!(of(&["--provider", "Lumen"]), 0);
}

#[tokio::test]
async fn arguments_that_do_not_go_with_causes_are_refused() {
    let db = TestDb::new().await.unwrap();
    let fails = |arguments: &[&str], code, what| {
        let ran = bmdb(&db);
        ran.args(["history"]).args(arguments).fails_with(code, what);
    };
    fails(&["67e5", "--causes"], 2, "cannot be used with");
    fails(&["--causes", "--all"], 2, "cannot be used with");
    fails(&["--provider", "Equinix"], 2, "--causes");
    fails(
        &["--process", "ShepherdRecovery"],
        2,
        "needs a machine, or --causes",
    );
    fails(
        &["--causes", "--process", "Typo"],
        3,
        "there is no process Typo",
    );
}

#[tokio::test]
async fn what_is_paused_is_listed_counted_and_explained_as_paused() {
    let db = TestDb::new().await.unwrap();
    let machine = due_machine(&db, "a").await.to_string();
    db.run_sql(
        "INSERT INTO process_control VALUES ('ShepherdAgentStart');
         INSERT INTO process_pause (process, provider, paused_by, reason)
         VALUES ('ShepherdAgentStart', 'Equinix', 'ada@desk', 'a fire')",
    )
    .await
    .unwrap();
    let list = |state: &str| {
        let arguments = [
            "machine",
            "list",
            "--process",
            "ShepherdAgentStart",
            "--state",
            state,
        ];
        bmdb(&db).args(arguments).run().stdout
    };
    assert!(list("paused").contains("paused ShepherdAgentStart"));
    assert_eq!(list("due"), "No machine matches.\n");
    let stats = bmdb(&db).args(["stats"]).run().stdout;
    assert!(
        stats.contains("PAUSED") && !stats.contains("LIMITED"),
        "{stats}"
    );
    let why = bmdb(&db)
        .args(["why", &machine, "ShepherdAgentStart"])
        .run()
        .stdout;
    for part in [
        "ShepherdAgentStart does not start: it is paused.",
        "allowed   closed",
        "Paused for Equinix by ada@desk since",
        "bmdb process resume ShepherdAgentStart --provider Equinix",
    ] {
        assert!(why.contains(part), "no {part} in {why}");
    }
}
