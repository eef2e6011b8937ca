//! Operator actions: each verb has its effect, writes an audit record, and reports errors.

mod history;

use crate::bmdb::{bmdb, due_machine, without};
use crate::schemas::documented;
use bmdb_model::internal::work;
use bmdb_model::{MachineId, Process, SessionId};
use bmdb_testkit::TestDb;
use serde_json::json;
use std::time::Duration;

const START: Process = Process::SHEPHERD_AGENT_START;
const HOUR: Duration = Duration::from_secs(3600);

struct Fixture {
    db: TestDb,
    machine: MachineId,
}

impl Fixture {
    async fn new() -> Self {
        let db = TestDb::new().await.unwrap();
        let machine = due_machine(&db, "8d2b").await;
        Self { db, machine }
    }

    /// Claims the machine; returns the session and the fence.
    async fn claim(&self) -> (SessionId, i64) {
        let session = self.db.session(HOUR).await.unwrap();
        let mut conn = self.db.connect().await.unwrap();
        let claimed = work::claim_machine(&mut conn, self.machine, &START, session).await;
        (session, claimed.unwrap().unwrap().fence.get())
    }

    /// Starts a backoff after this many failures.
    async fn backoff(&self, failures: u32) {
        let update = format!(
            "UPDATE work_item SET backoff_until = clock_timestamp() + interval '10 minutes', cause = 'no answer',
                 failures = {failures}, last_interval_seconds = 600"
        );
        self.db.run_sql(&update).await.unwrap();
    }

    async fn audit_records(&self) -> Vec<String> {
        let records =
            "SELECT concat_ws('|', verb, operator, reason) FROM operator_action ORDER BY action_id";
        self.db.rows(records).await.unwrap()
    }
}

#[tokio::test]
async fn a_machine_is_put_on_hold_released_and_deleted_by_any_of_its_names() {
    let s = Fixture::new().await;
    let id = s.machine.to_string();
    let (prefix, name) = (&id[..8], "Equinix/8d2b");
    bmdb(&s.db)
        .args(["machine", "hold", prefix])
        .fails_with(2, "--reason");
    let on_hold = bmdb(&s.db)
        .args([
            "machine", "hold", name, "--reason", "fan", "--as", "ann@desk", "--json",
        ])
        .run();
    assert_eq!(on_hold.json(), json!({"machine_id": id}));
    let reasons = s.db.rows("SELECT reason FROM machine_hold").await.unwrap();
    assert_eq!(reasons, ["fan"]);
    bmdb(&s.db).args(["machine", "release", prefix]).run();
    bmdb(&s.db)
        .args(["machine", "release", &id])
        .fails_with(4, "is not on hold");

    let delete = ["machine", "delete", name, "--reason", "scrapped"];
    bmdb(&s.db).args(delete).fails_with(2, "--yes");
    let (_, fence) = s.claim().await;
    bmdb(&s.db)
        .args(delete)
        .args(["--yes"])
        .fails_with(4, "has work in progress");
    let fence = fence.to_string();
    bmdb(&s.db)
        .args([
            "work",
            "release",
            &id,
            "ShepherdAgentStart",
            "--if-fence",
            &fence,
            "--reason",
            "gone",
            "--yes",
        ])
        .run();
    bmdb(&s.db).args(delete).args(["--yes"]).run();
    bmdb(&s.db)
        .args(delete)
        .args(["--yes"])
        .fails_with(3, "Equinix has no machine");
    assert_eq!(
        s.audit_records().await,
        [
            "HoldMachine|ann@desk|fan",
            "ReleaseMachine|tester",
            "ReleaseWork|tester|gone",
            "DeleteMachine|tester|scrapped",
        ]
    );
    let history = bmdb(&s.db).args(["history", &id]).run().stdout;
    let lines: Vec<&str> = history.lines().collect();
    assert_eq!(lines.len(), 5, "{history}");
    assert!(
        lines[0].contains("DeleteMachine by tester: scrapped"),
        "{history}"
    );
    let all = bmdb(&s.db).args(["history", "--json"]).run();
    documented("bmdb history", &all);
    assert_eq!(all.json()["items"].as_array().map(Vec::len), Some(4));
    let last = bmdb(&s.db).args(["history", "--limit", "1"]).run().stdout;
    bmdb(&s.db)
        .args(["history", &id[..8]])
        .fails_with(3, "name a deleted machine by its complete id");
    let by_whom = format!("DeleteMachine {id} by tester: scrapped");
    assert!(last.contains(&by_whom), "{last}");
}

#[tokio::test]
async fn tags_are_set_by_fields_and_unset_with_a_reason() {
    let s = Fixture::new().await;
    let id = s.machine.to_string();
    let set = |args: &[&str]| bmdb(&s.db).args(["tag", "set", &id]).args(args);
    set(&["provided", "location=fra2", "status=Running"]).run();
    set(&["agent_started", "public_key=hex:00ff"]).run();
    let tags = "SELECT provider_location, provider_status, agent_public_key
                FROM machine_provided JOIN machine_agent_started USING (machine_id)";
    assert_eq!(s.db.rows(tags).await.unwrap(), ["fra2|Running|\\x00ff"]);
    for (args, why) in [
        (
            &["colour", "a=b"][..],
            "the tags are provided, agent_started",
        ),
        (
            &["provided", "rack=7"],
            "no field \"rack\"; its fields are provider, provider_id",
        ),
        (&["provided", "rack"], "FIELD=VALUE"),
        (&["provided"], "nothing to set"),
        (&["hardware_report", "report=@/nowhere"], "/nowhere"),
    ] {
        set(args).fails_with(2, why);
    }
    let unset = ["tag", "unset", &id, "agent_started"];
    bmdb(&s.db)
        .args(unset)
        .args(["--yes"])
        .fails_with(2, "--reason");
    bmdb(&s.db)
        .args(unset)
        .args(["--reason", "r"])
        .fails_with(2, "--yes");
    let unset = [
        "tag",
        "unset",
        &id,
        "agent_started",
        "--reason",
        "reinstalled",
        "--yes",
        "--json",
    ];
    let done = bmdb(&s.db).args(unset).run().json();
    assert_eq!(
        done,
        json!({"machine_id": id, "tag": "agent_started", "is_set": false})
    );
    bmdb(&s.db)
        .args(unset)
        .fails_with(3, "does not have the tag");
    assert_eq!(
        s.audit_records().await,
        [
            "SetTag|tester",
            "SetTag|tester",
            "UnsetTag|tester|reinstalled"
        ]
    );
    let listed = bmdb(&s.db).args(["tag", "list", "--json"]).run().json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 6);
}

#[tokio::test]
async fn claimed_work_is_listed_and_released_only_with_its_fence() {
    let s = Fixture::new().await;
    let id = s.machine.to_string();
    let (session, fence) = s.claim().await;
    let list = bmdb(&s.db).args(["work", "list", "--json"]).run();
    documented("bmdb work list", &list);
    insta::assert_json_snapshot!("work_list", without(list.redacted(), "claimed_seconds"));
    let table = bmdb(&s.db).args(["work", "list"]).run().stdout;
    assert!(
        table.contains(&id) && table.contains(&session.to_string()),
        "{table}"
    );
    let stuck = bmdb(&s.db)
        .args(["work", "list", "--stuck", "--json"])
        .run()
        .json();
    assert_eq!(stuck["items"], json!([]));

    let release = |fence: i64| {
        let fence = fence.to_string();
        bmdb(&s.db).args([
            "work",
            "release",
            &id,
            "ShepherdAgentStart",
            "--reason",
            "hangs",
            "--yes",
            "--json",
            "--if-fence",
            &fence,
        ])
    };
    release(fence + 1).fails_with(4, &format!("is claimed under fence {fence} now"));
    let released = release(fence).run();
    documented("bmdb work release", &released);
    insta::assert_json_snapshot!("work_release", released.redacted());
    release(fence).fails_with(3, "ShepherdAgentStart is not claimed");
    assert_eq!(s.audit_records().await, ["ReleaseWork|tester|hangs"]);
    assert_eq!(
        s.db.rows("SELECT outcome FROM work_attempt").await.unwrap(),
        ["Canceled"]
    );
}

/// The database's clock was set back by an hour: a lease that a dead worker has left looked like any other.
#[tokio::test]
async fn a_lease_that_ends_later_than_it_can_is_named_and_explained() {
    let s = Fixture::new().await;
    let (session, _) = s.claim().await;
    let id = session.to_string();
    s.db.set_clock_back(HOUR).await.unwrap();
    let list = bmdb(&s.db).args(["session", "list", "--json"]).run().json();
    assert_eq!(list["items"][0]["is_overlong"], true);
    let list = bmdb(&s.db).args(["session", "list"]).run().stdout;
    assert!(list.contains("overlong"), "{list}");
    let show = bmdb(&s.db).args(["session", "show", &id]).run().stdout;
    assert!(show.contains("the database's clock was set back"), "{show}");
    let why = bmdb(&s.db)
        .args(["why", &s.machine.to_string(), "ShepherdAgentStart"])
        .run()
        .stdout;
    for part in [
        "The lease ends later than it can",
        "The database's clock was set back: the machine was claimed",
        &format!("bmdb session end {id}"),
    ] {
        assert!(why.contains(part), "no {part} in {why}");
    }
    bmdb(&s.db)
        .args(["session", "end", &id, "--reason", "dead", "--yes"])
        .run();
    assert_eq!(s.db.rows("SELECT 1 FROM work").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn sessions_are_listed_shown_and_ended() {
    let s = Fixture::new().await;
    let (session, _) = s.claim().await;
    let id = session.to_string();
    let list = bmdb(&s.db).args(["session", "list", "--json"]).run();
    documented("bmdb session list", &list);
    insta::assert_json_snapshot!("session_list", list.redacted());
    let show = bmdb(&s.db).args(["session", "show", &id, "--json"]).run();
    documented("bmdb session show", &show);
    insta::assert_json_snapshot!("session_show", without(show.redacted(), "claimed_seconds"));
    bmdb(&s.db).args(["session", "show", &id]).run();
    let unknown = MachineId::random().to_string();
    bmdb(&s.db)
        .args(["session", "show", &unknown])
        .fails_with(3, "there is no session");

    let end = ["session", "end", &id, "--reason", "hangs", "--json"];
    bmdb(&s.db).args(end).fails_with(2, "--yes");
    let ended = bmdb(&s.db).args(end).args(["--yes"]).run();
    documented("bmdb session end", &ended);
    insta::assert_json_snapshot!("session_end", ended.redacted());
    bmdb(&s.db)
        .args(end)
        .args(["--yes"])
        .fails_with(3, "there is no session");
    assert_eq!(
        s.db.rows("SELECT outcome FROM work_attempt").await.unwrap(),
        ["Expired"]
    );
    assert_eq!(s.audit_records().await, ["EndSession|tester|hangs"]);
}

#[tokio::test]
async fn backoffs_are_listed_ended_early_and_cleared() {
    let s = Fixture::new().await;
    let id = s.machine.to_string();
    s.backoff(3).await;
    let list = bmdb(&s.db).args(["backoff", "list", "--json"]).run();
    documented("bmdb backoff list", &list);
    insta::assert_json_snapshot!("backoff_list", list.redacted());
    let change = |verb: &str| {
        bmdb(&s.db).args([
            "backoff",
            verb,
            &id,
            "ShepherdAgentStart",
            "--reason",
            "mended",
            "--json",
        ])
    };
    let changed = change("retry-now").run();
    documented("bmdb backoff clear", &changed);
    insta::assert_json_snapshot!("backoff_change", changed.redacted());
    change("retry-now").fails_with(3, "has passed already");
    let expired = bmdb(&s.db)
        .args(["backoff", "list", "--expired", "--json"])
        .run()
        .json();
    assert_eq!(expired["items"][0]["failures"], 3);
    change("clear").fails_with(2, "--yes");
    change("clear").args(["--yes"]).run();
    change("clear")
        .args(["--yes"])
        .fails_with(3, "has no backoff");
    s.claim().await;
    s.backoff(1).await;
    change("clear")
        .args(["--yes"])
        .fails_with(4, "is at work on");
    assert_eq!(
        s.audit_records().await,
        ["RetryNow|tester|mended", "ClearBackoff|tester|mended"]
    );
}

#[tokio::test]
async fn why_names_the_closed_gate_and_exits_with_0() {
    let s = Fixture::new().await;
    let id = s.machine.to_string();
    let open = bmdb(&s.db)
        .args(["why", &id, "ShepherdAgentStart", "--json"])
        .run();
    documented("bmdb why", &open);
    let mut open = open.redacted();
    // The sentences contain times.
    open["gates"]["ready"]["sentences"] = json!(["[sentence]"]);
    insta::assert_json_snapshot!("why_open", open);
    let missing = bmdb(&s.db)
        .args(["why", "Equinix/8d2b", "ShepherdRecovery"])
        .run()
        .stdout;
    assert!(
        missing.contains("it lacks the tag machine_agent_started"),
        "{missing}"
    );
    s.backoff(4).await;
    let backing_off = bmdb(&s.db)
        .args(["why", &id, "ShepherdAgentStart", "--json"])
        .run()
        .json();
    assert_eq!(
        (
            &backing_off["is_open"],
            &backing_off["gates"]["ready"]["is_open"]
        ),
        (&json!(false), &json!(false))
    );
    let sentence = backing_off["gates"]["ready"]["sentences"][0]
        .as_str()
        .unwrap();
    assert!(
        sentence.contains("after 4 failures in a row; last cause: \"no answer\""),
        "{sentence}"
    );
    bmdb(&s.db)
        .args(["why", "ffff", "ShepherdAgentStart"])
        .fails_with(3, "no machine");
    bmdb(&s.db)
        .args(["why", &id, "no process"])
        .fails_with(2, "invalid process name");
}
