//! Maintenance: reading the pending tasks costs next to nothing, and batches cost the same in every
//! fleet.

use crate::scenario::{START, Scenario};
use crate::schema::check_all_hot;
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::history::Retention;
use bmdb_model::internal::connection::{self, plan_once_sql};
use bmdb_model::internal::maintenance::PendingTasks;
use bmdb_model::internal::{self, history, plan, reclaim};
use bmdb_model::maintenance::{self, Task, TaskProgress};

const BOTH: [Task; 2] = [Task::Plan, Task::TrimHistory];

impl Scenario {
    async fn look(&mut self) -> PendingTasks {
        internal::maintenance::pending(&mut self.conn, &BOTH)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn pending_tasks_are_those_that_are_due_and_whether_sessions_have_expired() {
    let mut s = Scenario::new().await;
    let look = s.look().await;
    assert!(!look.expired);
    assert_eq!(look.due.len(), 2);
    for (task, pause) in [(Task::Plan, 3_600_000), (Task::TrimHistory, 1_800_000)] {
        internal::maintenance::advance(&mut s.conn, task, TaskProgress::default(), pause, None)
            .await
            .unwrap();
    }
    let nothing = PendingTasks {
        expired: false,
        due: vec![],
        disarmed: false,
        overlong: false,
        set_back: false,
    };
    assert_eq!(s.look().await, nothing);
    s.advance(3600).await;
    // The longest due task comes first.
    assert_eq!(s.look().await.due, [Task::TrimHistory, Task::Plan]);
    let one = internal::maintenance::pending(&mut s.conn, &[Task::Plan])
        .await
        .unwrap();
    assert_eq!(one.due, [Task::Plan]);
    s.db.expire(s.session).await.unwrap();
    assert!(s.look().await.expired);
}

#[tokio::test]
async fn reading_the_pending_tasks_costs_a_few_buffers_and_no_transaction_id() {
    let mut s = Scenario::new().await;
    for task in BOTH {
        internal::maintenance::advance(&mut s.conn, task, TaskProgress::default(), 60_000, None)
            .await
            .unwrap();
    }
    for _ in 0..20 {
        s.another_session().await;
    }
    s.look().await;
    let look = s.text("Whether there is anything for a janitor").await;
    let execute = "EXECUTE look (ARRAY['Plan', 'TrimHistory']);";
    let sql = format!(
        "{} PREPARE look AS {look}; BEGIN; {execute} {execute}
         EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF, SUMMARY OFF) {execute}
         SELECT coalesce(pg_current_xact_id_if_assigned()::text, 'none');
         SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'RowShareLock'",
        plan_once_sql()
    );
    let mut rows = s.rows(&sql).await;
    assert_eq!(rows.split_off(rows.len() - 2), ["none", "0"]);
    assert!(crate::snapshots::buffers(&rows) <= 5, "{rows:#?}");
}

#[tokio::test]
async fn a_task_is_locked_by_one_janitor_and_only_when_it_is_due() {
    let mut s = Scenario::new().await;
    let (isolation, access) = (Isolation::ReadCommitted, Access::ReadWrite);
    let mut rival = s.db.connect().await.unwrap();
    connection::begin(&mut rival, isolation, access)
        .await
        .unwrap();
    let taken = internal::maintenance::lock(&mut rival, Task::Plan)
        .await
        .unwrap();
    assert_eq!(taken, Some(TaskProgress::default()));
    assert_eq!(
        internal::maintenance::lock(&mut s.conn, Task::Plan)
            .await
            .unwrap(),
        None
    );
    let other = internal::maintenance::lock(&mut s.conn, Task::TrimHistory)
        .await
        .unwrap();
    assert_eq!(other, Some(TaskProgress::default()));

    let machine = bmdb_model::MachineId::random();
    let mut progress = TaskProgress::default().after_batch(Some(machine));
    progress.last_chunks = Some(7);
    internal::maintenance::advance(&mut rival, Task::Plan, progress, 5000, Some("no reason"))
        .await
        .unwrap();
    connection::commit(&mut rival).await.unwrap();
    assert_eq!(
        internal::maintenance::lock(&mut s.conn, Task::Plan)
            .await
            .unwrap(),
        None
    );
    s.advance(5).await;
    let taken = internal::maintenance::lock(&mut s.conn, Task::Plan)
        .await
        .unwrap();
    assert_eq!(taken, Some(progress));
    let rows = maintenance::of(&mut s.conn, &[Task::Plan]).await.unwrap();
    assert_eq!(rows[0].failure.as_deref(), Some("no reason"));
}

/// Nodes of the generic plan that read a whole table or index.
async fn whole_reads(s: &mut Scenario, part: &str) -> Vec<String> {
    let text = s.text(part).await;
    let binds = (1..).take_while(|bind| text.contains(&format!("${bind}")));
    let nulls = vec!["NULL"; binds.count()].join(", ");
    let sql = format!(
        "SET plan_cache_mode = force_generic_plan; PREPARE chunk AS {text};
         EXPLAIN (COSTS OFF) EXECUTE chunk ({nulls})"
    );
    let plan = s.rows(&sql).await;
    let on_tables = ["machines", "work_item", "work_attempt"];
    let mut found = Vec::new();
    for (at, line) in plan.iter().enumerate() {
        let reads = on_tables
            .iter()
            .any(|table| line.contains(&format!(" on {table}")) && line.contains("Scan"));
        let conditions = plan[at + 1..]
            .iter()
            .take_while(|line| !line.contains("->"));
        let aimed = conditions.into_iter().any(|line| {
            line.contains("Index Cond:")
                || line.contains("TID Cond:")
                || line.contains("Recheck Cond")
        });
        if reads && !aimed && !line.contains("work_item_lane") {
            found.push(line.clone());
        }
    }
    found
}

// Regression: a condition "no cursor yet, or behind it" made every batch read the index from its start.
#[tokio::test]
async fn batches_continue_where_the_last_one_ended_and_read_no_whole_table() {
    let mut s = Scenario::new().await;
    s.db.run_sql(
        "INSERT INTO machines (machine_id) SELECT gen_random_uuid() FROM generate_series(1, 20000);
         INSERT INTO work_item (machine_id, process, lane)
         SELECT machine_id, 'ShepherdAgentStart', 'shepherd' FROM machines;
         INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                                   started_at, ended_at, outcome)
         SELECT machine_id, f, f, 'ShepherdAgentStart', machine_id, now(), now(), 'Finished'
         FROM machines, generate_series(1, 3) AS f",
    )
    .await
    .unwrap();
    s.db.run_sql("VACUUM ANALYZE").await.unwrap();
    let keep = Retention::default();
    let conn = &mut s.conn;
    plan::lock_chunk(conn, None, 1).await.unwrap();
    history::trim(conn, keep, None, 1).await.unwrap();
    history::surplus(conn, keep, None, Some(1)).await.unwrap();
    reclaim::lock_items(conn, &[s.session], 1).await.unwrap();
    for part in [
        "SELECT machine_id FROM machines",
        "Deletes no more of it at once",
        ")\nSELECT count(*) FROM surplus",
        "LIMIT $2 FOR NO KEY UPDATE OF i",
    ] {
        assert_eq!(whole_reads(&mut s, part).await, [""; 0], "{part}");
    }
}

#[tokio::test]
async fn a_failure_that_is_folded_is_a_hot_update() {
    let mut s = Scenario::new().await;
    s.db.run_sql(
        "INSERT INTO machines (machine_id) SELECT gen_random_uuid() FROM generate_series(1, 300);
         INSERT INTO work_item (machine_id, process, lane, eligible, plan_at)
         SELECT machine_id, 'ShepherdAgentStart', 'shepherd', true, now() FROM machines",
    )
    .await
    .unwrap();
    let mut failed = Vec::new();
    loop {
        let attempts = s.claim(&START).await;
        if attempts.is_empty() {
            break;
        }
        for attempt in &attempts {
            s.fail(attempt, 60, "no answer").await;
        }
        failed.extend(attempts);
    }
    // A few of each page, so that nothing has to be pruned, which another transaction's snapshot could
    // prevent.
    for attempt in failed.iter().step_by(15) {
        let over = format!(
            "UPDATE work_item SET backoff_until = now() WHERE machine_id = '{}'",
            attempt.machine
        );
        s.db.run_sql(&over).await.unwrap();
        let again = s.claim_one(&START).await;
        s.fail(&again, 60, "no answer").await;
    }
    let folded = "SELECT count(*), sum(repeats) FROM work_attempt";
    assert_eq!(s.rows(folded).await, ["300|20"]);
    // A server process reports its statistics at the latest when it ends.
    let db = s.db;
    drop(s.conn);
    check_all_hot(&db, "work_attempt", 20).await;
}
