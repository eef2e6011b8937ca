//! `bmdb machine list` and `bmdb machine show`, and the names of a machine.

use crate::bmdb::{bmdb, due_machine, without, worker};
use crate::schemas::documented;
use bmdb_core::{Bmdb, Claim};
use bmdb_model::{MachineId, Process, Provider};
use bmdb_testkit::TestDb;
use serde_json::Value;
use std::time::Duration;

fn ids(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| item["machine_id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_pages_of_a_list_contain_all_machines() {
    let db = TestDb::new().await.unwrap();
    for id in ["a", "b", "c"] {
        due_machine(&db, id).await;
    }
    let list = |more: &[&str]| {
        bmdb(&db)
            .args(["machine", "list", "--json"])
            .args(more)
            .run()
    };
    let first = list(&["--limit=2"]).json();
    assert_eq!(first["items"].as_array().unwrap().len(), 2);
    let next = first["next"].as_str().unwrap();
    let second = list(&["--limit=2", "--after", next]).json();
    assert_eq!(second["next"], Value::Null);
    let all = list(&["--all"]).json();
    assert_eq!(ids(&all), [ids(&first), ids(&second)].concat());

    let people = bmdb(&db).args(["machine", "list", "--limit=2"]).run();
    assert!(people.stdout.contains("Next page: --after "), "{people:?}");
    assert_eq!(people.stdout.lines().count(), 4);
    let wrong = bmdb(&db).args(["machine", "list", "--after", "nowhere"]);
    wrong.fails_with(2, "--after: not a position in this list");
    let other = bmdb(&db).args(["machine", "list", "--provider=Lumen", "--after", next]);
    other.fails_with(2, "a list with other filters");
    bmdb(&db)
        .args(["machine", "list", "--limit=0"])
        .fails_with(2, "0 is not in 1..=1000");
}

#[tokio::test]
async fn a_list_is_filtered_by_provider_tag_state_and_prefix() {
    let db = TestDb::new().await.unwrap();
    let a = due_machine(&db, "a1").await.to_string();
    let on_hold = db
        .machine()
        .provided(&Provider::LUMEN, "b")
        .hold("fan")
        .planned();
    let b = on_hold.create().await.unwrap().to_string();
    let list = |more: &[&str]| {
        ids(&bmdb(&db)
            .args(["machine", "list", "--json"])
            .args(more)
            .run()
            .json())
    };
    let a_only = std::slice::from_ref(&a);
    let b_only = std::slice::from_ref(&b);
    assert_eq!(list(&["--provider=Equinix"]), a_only);
    assert_eq!(list(&["--tag=machine_hold"]), b_only);
    assert_eq!(
        list(&["--process=ShepherdAgentStart", "--state=due"]),
        a_only
    );
    assert_eq!(
        list(&["--process=ShepherdAgentStart", "--state=not-eligible"]),
        b_only
    );
    assert_eq!(list(&["--prefix=Equinix/a"]), a_only);
    assert_eq!(list(&["--prefix", &b[..8]]), b_only);
    assert!(list(&["--prefix=zz"]).is_empty());
    let fails = |more: &[&str], code, what| {
        bmdb(&db)
            .args(["machine", "list"])
            .args(more)
            .fails_with(code, what);
    };
    fails(
        &["--tag=machine_rack"],
        3,
        "the tags are machine_agent_heartbeat, machine_agent_started",
    );
    fails(&["--process=A", "--state=up"], 2, "expected due, limited");
    fails(&["--state=due"], 2, "--process");
    let text = bmdb(&db)
        .args(["machine", "list", "--tag=machine_hold"])
        .run()
        .stdout;
    assert!(text.contains("on hold: fan"), "{text}");
    let none = bmdb(&db)
        .args(["machine", "list", "--prefix=zz"])
        .run()
        .stdout;
    assert_eq!(none, "No machine matches.\n");
}

/// A claimed machine that has failed before and has tags of every kind.
async fn claimed(db: &TestDb) -> (MachineId, Bmdb, bmdb_core::Session, bmdb_core::Work) {
    let machine = db
        .machine()
        .provided(&Provider::EQUINIX, "8d2b")
        .hardware_report(&[0xc0, 0xff, 0xee])
        .os_installation_request(1, b"image")
        .planned();
    let machine = machine.create().await.unwrap();
    let (worker, session) = worker(db, "agent-starter").await;
    let due = Claim::of(&Process::SHEPHERD_AGENT_START);
    let retry = "initial=1m,max=4h,factor=2".parse().unwrap();
    let work = session.claim(&due).await.unwrap().pop().unwrap();
    work.fail(&retry, "no answer on port 22").await.unwrap();
    db.advance(Duration::from_secs(61)).await.unwrap();
    let work = session.claim(&due).await.unwrap().pop().unwrap();
    (machine, worker, session, work)
}

#[tokio::test]
async fn a_machine_is_shown_with_its_tags_gates_and_work() {
    let db = TestDb::new().await.unwrap();
    let (machine, _worker, _session, _work) = claimed(&db).await;
    let id = machine.to_string();
    let show = |more: &[&str]| bmdb(&db).args(["machine", "show", &id]).args(more).run();
    let shown = show(&["--json"]);
    documented("bmdb machine show", &shown);
    insta::assert_json_snapshot!("machine_show", without(shown.redacted(), "claimed_seconds"));
    let text = show(&[]).stdout;
    for part in [
        "c0ffee (3 bytes)",
        "provider_id  8d2b",
        "no answer on port 22",
        "agent-starter",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let list = bmdb(&db).args(["machine", "list", "--json"]).run();
    documented("bmdb machine list", &list);
    insta::assert_json_snapshot!("machine_list", list.redacted());
}

#[tokio::test]
async fn a_machine_is_named_by_its_id_by_its_first_digits_or_by_its_provider() {
    let db = TestDb::new().await.unwrap();
    let create = |id: &str, more: &[&str]| {
        bmdb(&db)
            .args(["machine", "create", "--id", id])
            .args(more)
            .run();
    };
    let (one, other) = (
        "67e55044-10b1-426f-9247-bb680e5fe0c8",
        "67e55044-10b2-426f-9247-bb680e5fe0c8",
    );
    create(one, &["--provider=Equinix", "--provider-id=8d2b"]);
    create(other, &[]);
    let show = |machine: &str| bmdb(&db).args(["machine", "show", machine, "--json"]);
    for name in [
        one,
        &one.replace('-', ""),
        "67E5504410b1",
        "67e55044-10b1",
        "Equinix/8d2b",
    ] {
        assert_eq!(show(name).run().json()["machine_id"], one, "{name}");
    }
    let several = bmdb(&db).args(["machine", "show", "67e5"]);
    let several = several.fails_with(2, "the ids of several machines begin with 67e5:");
    assert!(
        [one, other].iter().all(|id| several.stderr.contains(id)),
        "{several:?}"
    );
    show("67e").fails_with(2, "at least 4 digits");
    show("ffff").fails_with(3, "no machine's id begins with ffff");
    show(&one.replace('6', "7")).fails_with(3, "there is no machine 77e55044");
    show("Equinix/9").fails_with(3, "Equinix has no machine");
}
