//! `bmdb janitor` and `bmdb replan`.

use crate::bmdb::{bmdb, due_machine, signal, worker};
use crate::schemas::documented;
use bmdb_core::{Bmdb, Claim};
use bmdb_model::{Process, Provider};
use bmdb_testkit::TestDb;
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// A database with one machine that an expired session has claimed.
async fn with_expired_work() -> (TestDb, Bmdb) {
    let db = TestDb::new().await.unwrap();
    due_machine(&db, "a").await;
    let (worker, session) = worker(&db, "worker").await;
    let due = Claim::of(&Process::SHEPHERD_AGENT_START);
    let claimed = session.claim(&due).await.unwrap();
    assert_eq!(claimed.len(), 1);
    db.expire(session.id()).await.unwrap();
    // Dropping the claimed work releases nothing, because its lease is lost.
    (db, worker)
}

async fn sessions(db: &TestDb) -> Vec<String> {
    let query = "SELECT count(*) FROM sessions WHERE session_component_name = 'worker'";
    db.rows(query).await.unwrap()
}

#[tokio::test]
async fn one_turn_reclaims_the_work_of_an_expired_session_and_a_dry_run_only_shows_it() {
    let (db, _worker) = with_expired_work().await;
    let dry_run = bmdb(&db)
        .args(["janitor", "--dry-run", "--keep-days=30", "--json"])
        .run();
    documented("bmdb janitor --dry-run", &dry_run);
    let mut dry_run = dry_run.redacted();
    dry_run["upkeep"]
        .as_array_mut()
        .unwrap()
        .sort_by_key(|task| task["task"].to_string());
    insta::assert_json_snapshot!("janitor_dry_run", dry_run);
    assert_eq!(sessions(&db).await, ["1"]);
    let text = bmdb(&db).args(["janitor", "--dry-run"]).run().stdout;
    assert!(text.starts_with("expired sessions: 1\n"), "{text}");

    let turn = bmdb(&db).args(["janitor", "--once", "--json"]).run();
    documented("bmdb janitor --once", &turn);
    insta::assert_json_snapshot!("janitor_turn", turn.redacted());
    assert_eq!(sessions(&db).await, ["0"]);
    let counted = "SELECT event, sum(count) FROM attempt_tally WHERE event = 'Expired' GROUP BY 1";
    assert_eq!(db.rows(counted).await.unwrap(), ["Expired|1"]);
    let text = bmdb(&db).args(["janitor", "--once"]).run().stdout;
    assert!(
        text.starts_with("expired sessions removed: 0\nwork reclaimed: 0\n"),
        "{text}"
    );
}

#[tokio::test]
async fn a_janitor_service_reclaims_expired_work_and_ends_in_order_at_sigterm() {
    let (db, _worker) = with_expired_work().await;
    let mut command = bmdb(&db).args(["janitor", "--json"]).command();
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut lines = lines.map(|line| line.unwrap());
    assert!(lines.any(|line| line.contains("work reclaimed")));
    signal(&child, Signal::SIGTERM);
    assert!(lines.any(|line| line.contains("ending")));
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(sessions(&db).await, ["0"]);
}

#[tokio::test]
async fn replan_repairs_work_items_that_were_changed_by_hand() {
    let db = TestDb::new().await.unwrap();
    for id in ["a", "b"] {
        db.machine()
            .provided(&Provider::EQUINIX, id)
            .create()
            .await
            .unwrap();
    }
    let items = "SELECT count(*) FROM work_item WHERE process = 'ShepherdAgentStart' AND eligible";
    db.run_sql("DELETE FROM work_item").await.unwrap();
    let ran = bmdb(&db).args(["replan"]).run();
    assert_eq!(ran.stdout, "replanned 2 machines\n");
    assert_eq!(db.rows(items).await.unwrap(), ["2"]);
    let why = ["--reason", "written by hand", "--as", "ann@desk"];
    let again = bmdb(&db).args(["replan", "--json"]).args(why).run();
    documented("bmdb replan", &again);
    assert_eq!(again.json()["planned"], 2);
    let records =
        "SELECT concat_ws('|', verb, operator, reason) FROM operator_action ORDER BY action_id";
    assert_eq!(
        db.rows(records).await.unwrap(),
        ["Replan|tester", "Replan|ann@desk|written by hand"]
    );
    let history = bmdb(&db).args(["history"]).run().stdout;
    assert!(
        history.contains("Replan by ann@desk: written by hand"),
        "{history}"
    );
}
