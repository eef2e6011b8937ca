//! Dry run: it predicts the next turn and changes nothing.

use super::component;
use crate::scenario::Scenario;
use bmdb_core::{Bmdb, Config, MaintenanceBatch};
use bmdb_model::ProcessDef;
use bmdb_model::maintenance::Task;
use diesel_async::SimpleAsyncConnection;
use std::time::Duration;

/// Every row that a janitor may write or lock, with its last writer and locker.
const EVERYTHING: &str = "
    SELECT t.xmin, t.xmax, t::text FROM sessions t WHERE session_component_name = 'fixture'
    UNION ALL SELECT t.xmin, t.xmax, t::text FROM machines t
    UNION ALL SELECT t.xmin, t.xmax, t::text FROM work_item t
    UNION ALL SELECT t.xmin, t.xmax, t::text FROM work_attempt t
    UNION ALL SELECT t.xmin, t.xmax, t::text FROM upkeep t ORDER BY 3";

#[tokio::test]
async fn a_turn_does_what_the_dry_run_predicted_and_the_dry_run_changes_nothing() {
    let s = Scenario::new().await;
    let bmdb = component(&s.db, None).await;
    let start = ProcessDef::new(bmdb_model::Process::SHEPHERD_AGENT_START);
    let start = start.lane("shepherd".parse().unwrap()).loss_delay(3, 10);
    let start = start.workflow("workflow_agent_start");
    s.owner().await.define_process(&start).await.unwrap();
    s.unplanned(700).await;
    bmdb.replan().await.unwrap();
    s.history(20).await;
    s.db.run_sql(
        "INSERT INTO attempt_tally
         SELECT date_trunc('minute', clock_timestamp()) - make_interval(hours => hours),
                'Acme', 'Started', gen_random_uuid(), 1, 0, 0
         FROM generate_series(0, 40, 10) AS hours",
    )
    .await
    .unwrap();
    let (dead, idle) = (
        s.db.session(Duration::from_secs(60)).await.unwrap(),
        s.db.session(Duration::from_secs(60)).await.unwrap(),
    );
    let losses = "UPDATE work_item SET losses = get_byte(uuid_send(machine_id), 0) % 4";
    s.db.run_sql(losses).await.unwrap();
    s.hold_everything(dead).await;
    for session in [dead, idle] {
        s.db.expire(session).await.unwrap();
    }

    // The dry run does not wait for locks.
    let mut rival = s.db.connect().await.unwrap();
    let lock = "BEGIN; SELECT 1 FROM upkeep FOR UPDATE; SELECT 1 FROM sessions FOR UPDATE;
                SELECT 1 FROM work_item FOR UPDATE; SELECT 1 FROM work_attempt FOR UPDATE";
    rival.batch_execute(lock).await.unwrap();
    bmdb.janitor_dry_run().await.unwrap();
    rival.batch_execute("ROLLBACK").await.unwrap();

    let before = s.rows(EVERYTHING).await;
    let predicted = bmdb.janitor_dry_run().await.unwrap();
    assert_eq!(s.rows(EVERYTHING).await, before);
    assert!(predicted.sessions.iter().all(|s| s.deadline < predicted.at));
    assert_eq!(predicted.surplus, Some(20));

    let turn = bmdb.janitor_turn().await.unwrap();
    let mut announced: Vec<_> = predicted
        .sessions
        .iter()
        .map(|session| session.id)
        .collect();
    let mut removed = turn.reclaimed.sessions;
    announced.sort_unstable();
    removed.sort_unstable();
    assert_eq!(announced, removed);

    let announced = predicted.expired.iter().map(|work| {
        let item = &work.item;
        (
            item.machine,
            item.process.clone(),
            item.fence,
            item.session,
            Some(work.delay.get().into()),
        )
    });
    let announced: Vec<_> = announced.collect();
    let attempts = turn.reclaimed.attempts.into_iter();
    let mut freed: Vec<_> = attempts
        .map(|a| (a.machine, a.process, a.fence, a.session, a.delay_seconds))
        .collect();
    freed.sort();
    assert_eq!(announced, freed);
    let mut delays: Vec<i64> = freed.iter().filter_map(|freed| freed.4).collect();
    delays.sort_unstable();
    delays.dedup();
    assert_eq!(delays, [3, 6, 10]);

    let announced = predicted.batches.iter();
    let announced = announced.map(|batch| (batch.row.task, batch.size));
    let announced: Vec<_> = announced.collect();
    assert!(predicted.batches.iter().all(|batch| batch.is_due));
    let done = turn.batches.iter().map(|batch| match batch {
        MaintenanceBatch::Planned { machines, .. } => {
            (Task::Plan, u64::try_from(*machines).unwrap())
        }
        MaintenanceBatch::Trimmed { rows } => (Task::TrimHistory, *rows),
        MaintenanceBatch::AttemptCountsTrimmed { rows } => (Task::TrimAttemptCounts, *rows),
        other => panic!("{other:?}"),
    });
    assert_eq!(announced, done.collect::<Vec<_>>());

    let after = bmdb.janitor_dry_run().await.unwrap();
    assert_eq!(
        (after.sessions, after.expired, after.surplus),
        (vec![], vec![], Some(0))
    );
    assert!(!after.batches.iter().any(|batch| batch.is_due));
}

#[tokio::test]
async fn a_dry_run_contains_only_this_components_tasks() {
    let s = Scenario::new().await;
    let config = Config::new(s.db.url()).retention(None).replan_period(None);
    let config = config.attempt_counts_interval(None).janitor_interval(None);
    let bmdb = Bmdb::connect(config).await.unwrap();
    let predicted = bmdb.janitor_dry_run().await.unwrap();
    assert_eq!((predicted.batches, predicted.surplus), (vec![], None));
}
