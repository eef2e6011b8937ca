//! Maintenance: in batches, once for the database, even if a part of it fails.

use super::component;
use crate::scenario::Scenario;
use crate::wait::until;
use bmdb_core::{Bmdb, Config, MaintenanceBatch};
use bmdb_model::{Process, ProcessDef};
use std::time::Duration;

const PLANNED: &str = "count(*) FROM work_item WHERE eligible";
const HISTORY: &str = "count(*) FROM work_attempt";

/// The machines planned and rows trimmed by a turn.
async fn turn(bmdb: &Bmdb) -> (Option<usize>, Option<u64>) {
    let (mut planned, mut trimmed) = (None, None);
    for chunk in bmdb.janitor_turn().await.unwrap().batches {
        match chunk {
            MaintenanceBatch::Planned { machines, broken } => {
                assert_eq!(broken, []);
                planned = Some(machines);
            }
            MaintenanceBatch::Trimmed { rows } => trimmed = Some(rows),
            MaintenanceBatch::AttemptCountsTrimmed { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    (planned, trimmed)
}

/// The current pause of each task, in whole seconds.
const PAUSES: &str = "SELECT task, round(extract(epoch FROM due_at - clock_timestamp()))
                      FROM upkeep ORDER BY task";

#[tokio::test]
async fn a_pass_replans_the_fleet_in_batches_and_takes_a_period() {
    let s = Scenario::new().await;
    let bmdb = component(&s.db, None).await;
    s.unplanned(1200).await;
    for (machines, planned) in [(500, 500), (500, 1000), (200, 1200)] {
        assert_eq!(turn(&bmdb).await.0, Some(machines));
        assert_eq!(s.number(PLANNED).await, planned);
        assert_eq!(turn(&bmdb).await, (None, None), "it pauses");
        s.advance(1200).await;
    }
    // Now the pass is known to have three batches.
    s.db.run_sql("UPDATE work_item SET eligible = false")
        .await
        .unwrap();
    for (machines, planned) in [(500, 500), (500, 1000), (200, 1200)] {
        assert_eq!(turn(&bmdb).await.0, Some(machines));
        assert_eq!(s.number(PLANNED).await, planned);
        assert_eq!(s.rows(PAUSES).await[0], "Plan|1200");
        s.advance(1200).await;
    }
}

#[tokio::test]
async fn a_pass_over_an_unknown_fleet_pauses_as_for_a_million_machines() {
    let s = Scenario::new().await;
    let bmdb = component(&s.db, None).await;
    s.unplanned(501).await;
    assert_eq!(turn(&bmdb).await.0, Some(500));
    assert_eq!(s.rows(PAUSES).await[0], "Plan|2");
    // Even with a short period, the pause is a second.
    let hasty = Config::new(s.db.url()).replan_period(Some(Duration::from_millis(1)));
    let hasty = Bmdb::connect(hasty.janitor_interval(None)).await.unwrap();
    s.advance(2).await;
    assert_eq!(turn(&hasty).await.0, Some(1));
    assert_eq!(s.rows(PAUSES).await[0], "Plan|1");
}

#[tokio::test]
async fn history_is_trimmed_in_batches_of_rows() {
    let s = Scenario::new().await;
    let bmdb = component(&s.db, None).await;
    s.history(3000).await;
    assert_eq!(s.number(HISTORY).await, 6000);
    // The first 5000 rows belong to 2500 machines.
    assert_eq!(turn(&bmdb).await.1, Some(2500));
    s.advance(100).await;
    assert_eq!(turn(&bmdb).await.1, Some(500));
    assert_eq!(s.number(HISTORY).await, 3000);
    assert_eq!(s.rows(PAUSES).await[1], "TrimHistory|43200");
}

#[tokio::test]
async fn disabled_tasks_are_left_to_other_components() {
    let s = Scenario::new().await;
    s.unplanned(1).await;
    s.history(1).await;
    let neither = Config::new(s.db.url()).retention(None).replan_period(None);
    let neither = Bmdb::connect(neither.janitor_interval(None)).await.unwrap();
    assert_eq!(turn(&neither).await, (None, None));
    let both = component(&s.db, None).await;
    assert_eq!(turn(&both).await, (Some(1), Some(1)));
}

#[tokio::test]
async fn many_janitors_do_no_more_than_one() {
    let s = Scenario::new().await;
    s.unplanned(1200).await;
    s.history(1).await;
    let often = Some(Duration::from_millis(5));
    let mut janitors = Vec::new();
    for _ in 0..4 {
        janitors.push(component(&s.db, often).await);
    }
    until(&s.db, "count(*) = 500 FROM work_item WHERE eligible").await;
    until(&s.db, "count(*) = 1 FROM work_attempt").await;
    let chunks = "SELECT chunks FROM upkeep WHERE task = 'Plan'";
    let first = s
        .rows("SELECT due_at FROM upkeep WHERE task = 'Plan'")
        .await;
    assert_eq!(s.rows(chunks).await, ["1"]);
    // No janitor does more until the pause is over, not even the second batch.
    until(&s.db, "count(*) = 1000 FROM work_item WHERE eligible").await;
    let waited = format!(
        "SELECT clock_timestamp() > timestamptz '{}', chunks FROM upkeep WHERE task = 'Plan'",
        first[0]
    );
    assert_eq!(s.rows(&waited).await, ["t|2"]);
}

#[tokio::test]
async fn a_janitor_does_not_wait_for_anothers_batch() {
    let s = Scenario::new().await;
    let bmdb = component(&s.db, None).await;
    let mut rival = s.db.connect().await.unwrap();
    let take = "BEGIN; SELECT 1 FROM upkeep FOR NO KEY UPDATE";
    diesel_async::SimpleAsyncConnection::batch_execute(&mut rival, take)
        .await
        .unwrap();
    assert_eq!(turn(&bmdb).await, (None, None));
    drop(rival);
}

/// Foreign workflows, each broken in its own way, beside intact ones.
const BROKEN: [(&str, &str, &str); 3] = [
    (
        "Gone",
        "DROP VIEW acme_workflow",
        "relation \"acme_workflow\" does not exist",
    ),
    (
        "Twice",
        "CREATE OR REPLACE VIEW acme_workflow AS
         SELECT machine_id, provider, NULL::timestamptz AS ready_at FROM machine_provided
         UNION ALL SELECT machine_id, provider, NULL FROM machine_provided",
        "cannot affect row a second time",
    ),
    (
        "Failing",
        "CREATE OR REPLACE VIEW acme_workflow AS
         SELECT machine_id, provider,
                CASE WHEN 1 / length(substr(provider, 1, 0)) > 0 THEN now() END AS ready_at
         FROM machine_provided",
        "division by zero",
    ),
];

#[tokio::test]
async fn a_broken_workflow_stops_neither_the_others_nor_the_pass() {
    for (name, break_it, problem) in BROKEN {
        let s = Scenario::new().await;
        let bmdb = component(&s.db, None).await;
        s.create_view(
            "CREATE VIEW acme_workflow AS
             SELECT machine_id, provider, NULL::timestamptz AS ready_at FROM machine_provided",
        )
        .await;
        s.provided("planned").await;
        let process: Process = format!("Acme{name}").parse().unwrap();
        let acme = ProcessDef::new(process.clone()).workflow("acme_workflow");
        s.owner().await.define_process(&acme).await.unwrap();
        s.db.run_sql(break_it).await.unwrap();
        s.unplanned(600).await;

        let mut planned = Vec::new();
        for _ in 0..2 {
            let turn = bmdb.janitor_turn().await.unwrap();
            let MaintenanceBatch::Planned { machines, broken } = &turn.batches[0] else {
                panic!("{turn:?}");
            };
            planned.push(*machines);
            assert_eq!(broken.len(), 1, "{broken:?}");
            assert_eq!(broken[0].process, process);
            assert!(broken[0].error.contains(problem), "{broken:?}");
            let noted = s
                .rows("SELECT failure FROM upkeep WHERE task = 'Plan'")
                .await;
            assert!(noted[0].contains(problem), "{noted:?}");
            s.advance(2).await;
        }
        assert_eq!(planned, [500, 101]);
        let eligible = "SELECT process, count(*) FROM work_item WHERE eligible
                        GROUP BY process ORDER BY process";
        let left = format!("{process}|1");
        assert_eq!(
            s.rows(eligible).await,
            [left.as_str(), "ShepherdAgentStart|601"]
        );
    }
}

#[tokio::test]
async fn a_failed_batch_is_postponed_and_expired_work_is_still_freed() {
    let s = Scenario::new().await;
    // Trimming cannot read the history.
    s.db.run_sql("ALTER TABLE work_attempt RENAME last_fence TO lost_fence")
        .await
        .unwrap();
    let _janitor = component(&s.db, Some(Duration::from_millis(5))).await;
    let failed = "failure LIKE '%last_fence%' AND due_at > clock_timestamp() + interval '30 s'
                  FROM upkeep WHERE task = 'TrimHistory'";
    until(&s.db, failed).await;
    let lost = s.db.session(Duration::from_secs(60)).await.unwrap();
    s.db.expire(lost).await.unwrap();
    let removed = format!("NOT EXISTS (SELECT FROM sessions WHERE session_id = '{lost}')");
    until(&s.db, &removed).await;
}
