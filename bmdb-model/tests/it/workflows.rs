//! Downstream users add tags, workflows and processes without changing ours.

use crate::scenario::{RECOVERY, START, Scenario};
use bmdb_model::internal::work::{self, Gate};
use bmdb_model::{Lane, Process, ProcessDef, hold, process};
use bmdb_testkit::TestDb;

const WIPE: Process = Process::from_static("AcmeWipe");

/// The tables and views of a downstream user's migration.
const ACME: &str = "
    CREATE TABLE acme_dirty (machine_id uuid PRIMARY KEY REFERENCES machines, since timestamptz NOT NULL);
    CREATE VIEW acme_workflow_wipe AS
        SELECT machine_id, provider, NULL::timestamptz AS ready_at
        FROM acme_dirty JOIN machine_provided USING (machine_id)";

fn wipe() -> ProcessDef {
    ProcessDef::new(WIPE).workflow("acme_workflow_wipe")
}

#[tokio::test]
async fn a_downstream_workflow_is_planned_from_the_next_tag_write_on() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let items = "SELECT process, lane, provider, eligible FROM work_item ORDER BY process";
    s.db.run_sql(ACME).await.unwrap();
    s.db.run_sql(&format!(
        "INSERT INTO acme_dirty VALUES ('{machine}', now())"
    ))
    .await
    .unwrap();
    s.define(&wipe()).await.unwrap();
    let ours = "ShepherdAgentStart|shepherd|Equinix|t";
    assert_eq!(s.rows(items).await, [ours]);

    // Any tag will do, also one that this workflow has nothing to do with.
    s.write(machine, async |conn| hold::unset(conn, machine).await)
        .await
        .unwrap();
    assert_eq!(s.rows(items).await, ["AcmeWipe|AcmeWipe|Equinix|t", ours]);
    let attempt = s.claim_one(&WIPE).await;
    let clean = format!("DELETE FROM acme_dirty WHERE machine_id = '{machine}'");
    s.db.run_sql(&clean).await.unwrap();
    s.finish(&attempt).await;
    s.write(machine, async |_| Ok(())).await.unwrap();
    assert_eq!(s.rows(items).await, ["AcmeWipe|AcmeWipe|Equinix|f", ours]);
}

// Regression: a process was moved to another lane while one of its items was still in the old one, and
// the lane index let it be claimed beside a claim in the new lane.
#[tokio::test]
async fn a_process_that_changes_its_lane_moves_its_unclaimed_items() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_machine(machine, &WIPE).await;
    s.fail(&attempt, 1, "no answer").await;
    s.advance(2).await;
    s.define(&ProcessDef::new(WIPE).lane(Lane::SHEPHERD))
        .await
        .unwrap();
    let lane = "SELECT lane FROM work_item WHERE process = 'AcmeWipe'";
    assert_eq!(s.rows(lane).await, ["shepherd"]);
    s.claim_machine(machine, &WIPE).await;
    let mate = work::gates(&mut s.conn, &START, &[machine]).await.unwrap();
    assert_eq!(mate, [(machine, Gate::LaneTaken)]);
}

#[tokio::test]
async fn a_process_at_work_keeps_its_lane() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.claim_machine(machine, &WIPE).await;
    let moved = s.define(&ProcessDef::new(WIPE).lane(Lane::SHEPHERD)).await;
    let error = moved.unwrap_err().to_string();
    assert!(
        error.contains("cannot change while it is at work on 1 machines"),
        "{error}"
    );
    assert_eq!(process::all(&mut s.conn).await.unwrap().len(), 3);
}

// Regression: the planner skipped processes without a workflow, so their due items stayed due for ever.
#[tokio::test]
async fn a_process_that_loses_its_workflow_is_due_nowhere_after_replanning() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let mut without = process::of(&mut s.conn, &START).await.unwrap();
    without.workflow = None;
    s.define(&without).await.unwrap();
    s.write(machine, async |_| Ok(())).await.unwrap();
    let items = "SELECT process, eligible, plan_at FROM work_item";
    assert_eq!(s.rows(items).await, ["ShepherdAgentStart|f|"]);
}

#[tokio::test]
async fn a_definition_may_join_the_lane_of_others() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.define(&ProcessDef::new(WIPE).lane(Lane::SHEPHERD))
        .await
        .unwrap();
    s.claim_machine(machine, &START).await;
    let mate = work::gates(&mut s.conn, &WIPE, &[machine]).await.unwrap();
    assert_eq!(mate, [(machine, Gate::LaneTaken)]);
}

#[tokio::test]
async fn a_definition_can_be_read_replaced_and_listed() {
    let mut s = Scenario::new().await;
    let undefined = process::of(&mut s.conn, &WIPE).await.unwrap();
    assert_eq!(undefined, ProcessDef::new(WIPE));
    assert_eq!(
        (
            undefined.loss_initial_seconds,
            undefined.loss_maximum_seconds
        ),
        (15, 3600)
    );

    for definition in [
        ProcessDef::new(WIPE)
            .workflow("workflow_agent_start")
            .loss_delay(1, 60)
            .rest(2, 90)
            .flapping_within(0),
        ProcessDef::new(WIPE).lane(Lane::SHEPHERD),
    ] {
        s.define(&definition).await.unwrap();
        assert_eq!(process::of(&mut s.conn, &WIPE).await.unwrap(), definition);
    }
    let all = process::all(&mut s.conn).await.unwrap();
    let names: Vec<&str> = all
        .iter()
        .map(|definition| definition.process.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "AcmeWipe",
            "ShepherdAccess",
            "ShepherdAgentStart",
            "ShepherdRecovery"
        ]
    );
}

#[tokio::test]
async fn an_unusable_definition_is_refused_and_nothing_is_written() {
    let db = TestDb::new().await.unwrap();
    let mut conn = db.connect().await.unwrap();
    db.run_sql(
        "CREATE VIEW acme_too_few AS SELECT machine_id, provider FROM machine_provided;
         CREATE VIEW acme_wrong_type AS SELECT machine_id, provider, now()::text AS ready_at
             FROM machine_provided",
    )
    .await
    .unwrap();
    let before = db
        .rows("SELECT p FROM process_def p ORDER BY 1")
        .await
        .unwrap();
    let no_view = |view: &str| {
        format!(
            "process AcmeWipe: there is no view {view:?} with the columns machine_id uuid, \
             provider text and ready_at timestamptz: create it in a migration of yours first"
        )
    };
    let no_delay = |initial, maximum| {
        format!(
            "process AcmeWipe: its loss delay of {initial} to {maximum} s must satisfy \
             1 <= initial <= maximum <= 2147483647"
        )
    };
    let define = ProcessDef::new;
    let mut negative = define(WIPE);
    negative.flapping_within_seconds = -1;
    let rest = |initial, maximum| no_delay(initial, maximum).replace("loss delay", "rest");
    for (definition, refusal) in [
        (define(WIPE).rest(0, 60), rest(0, 60)),
        (define(WIPE).rest(61, 60), rest(61, 60)),
        (
            negative,
            "process AcmeWipe: it flaps within -1 s, which must be between 0 and 2147483647"
                .to_owned(),
        ),
        (define(WIPE).workflow("nowhere"), no_view("nowhere")),
        (
            define(WIPE).workflow("acme_too_few"),
            no_view("acme_too_few"),
        ),
        (
            define(WIPE).workflow("acme_wrong_type"),
            no_view("acme_wrong_type"),
        ),
        (
            define(WIPE).workflow("work; DROP TABLE work_item"),
            no_view("work; DROP TABLE work_item"),
        ),
        (
            define(WIPE).workflow(""),
            "workflow must not be empty".to_owned(),
        ),
        (define(WIPE).loss_delay(0, 60), no_delay(0, 60)),
        (define(WIPE).loss_delay(61, 60), no_delay(61, 60)),
        (
            define(WIPE).loss_delay(1, u32::MAX),
            no_delay(1, i64::from(u32::MAX)),
        ),
    ] {
        let error = process::define(&mut conn, &definition).await.unwrap_err();
        assert_eq!(error.to_string(), refusal);
    }
    assert_eq!(
        db.rows("SELECT p FROM process_def p ORDER BY 1")
            .await
            .unwrap(),
        before
    );
}

// Verified by leaving out the look at off_workflow: then the database's own constraint refuses it, and does not
// say what to do.
#[tokio::test]
async fn a_definition_does_not_switch_a_process_on() {
    let mut s = Scenario::new().await;
    let recovery = process::of(&mut s.conn, &RECOVERY).await.unwrap();
    s.db.run_sql(
        "UPDATE process_def SET off_workflow = workflow, off_time_driven = true, workflow = NULL,
                time_driven = false WHERE process = 'ShepherdRecovery'",
    )
    .await
    .unwrap();
    let refused = s.define(&recovery).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "process ShepherdRecovery: it is switched off (its workflow was workflow_agent_recovery), and a \
         definition with a workflow would switch it on: run `bmdb process on ShepherdRecovery` first"
    );
    let mut without = recovery.loss_delay(5, 50);
    (without.workflow, without.replan_on_claim) = (None, false);
    s.define(&without).await.unwrap();
    let row = "SELECT off_workflow, off_time_driven, loss_initial_seconds FROM process_def
               WHERE process = 'ShepherdRecovery'";
    assert_eq!(s.rows(row).await, ["workflow_agent_recovery|t|5"]);
}
