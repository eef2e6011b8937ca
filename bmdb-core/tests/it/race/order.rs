//! Order of locks: session, machine, item in (machine, process) order. In each case two sides overlap on
//! two machines while a third locks one of them. No test here retries a deadlock, except for the one
//! that cannot be avoided.

use super::gate::{Before, Gate};
use crate::scenario::{Scenario, work_on};
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_core::{Bmdb, Claim, Config, SessionOptions};
use bmdb_model::internal::plan::KnownDefinitions;
use bmdb_model::internal::work::{
    self, Attempt, Cancel, Ended, FailedAttempt, Finish, How, Jitter, Waiting,
};
use bmdb_model::internal::{reclaim, session};
use bmdb_model::{
    AgentStarted, ErrorKind, MachineId, Process, ProcessDef, TagWrites, agent, machine, plan,
    process,
};
use bmdb_testkit::TestDb;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use std::time::Duration;
use tokio::sync::Notify;

const START: Process = Process::SHEPHERD_AGENT_START;
const ACCESS: Process = Process::SHEPHERD_ACCESS;
const PROBE: Process = Process::from_static("AcmeProbe");

const HOUR: Duration = Duration::from_secs(3600);

/// Two due machines, in the order of their ids.
pub(super) async fn two_machines(s: &Scenario) -> [MachineId; 2] {
    let mut machines = [s.provided("1").await, s.provided("2").await];
    machines.sort_unstable();
    machines
}

/// The attempts of a claim of both.
async fn claimed(s: &Scenario, machines: [MachineId; 2]) -> [Attempt; 2] {
    let session = s.db.session(HOUR).await.unwrap();
    let mut conn = s.db.connect().await.unwrap();
    let claimed = work::claim(&mut conn, &START, None, session, 2).await;
    let claimed = claimed.unwrap().unwrap();
    machines.map(|machine| {
        let claimed = claimed.iter().find(|c| c.machine == machine).unwrap();
        Attempt {
            machine,
            process: START,
            session,
            fence: claimed.fence,
            started_at: claimed.started_at,
        }
    })
}

pub(super) async fn begun(db: &TestDb) -> AsyncPgConnection {
    let mut conn = db.connect().await.unwrap();
    conn.batch_execute("BEGIN").await.unwrap();
    conn
}

/// Writes a tag that the plans of these machines' items depend on.
async fn start_agents(conn: &mut AsyncPgConnection, machines: &[MachineId]) {
    machine::touch(conn, machines).await.unwrap();
    for machine in machines {
        let started = AgentStarted::now(b"key");
        agent::set_started(conn, *machine, &started).await.unwrap();
    }
}

pub(super) async fn lock_item(conn: &mut AsyncPgConnection, machine: MachineId) {
    let lock = format!("SELECT 1 FROM work_item WHERE machine_id = '{machine}' FOR NO KEY UPDATE");
    conn.batch_execute(&lock).await.unwrap();
}

/// Both sides need both items: the one that locks the first gets the second.
async fn check_planner_against_janitor(janitor_first: bool) {
    let s = Scenario::new().await;
    let machines = two_machines(&s).await;
    let lost = claimed(&s, machines).await[0].session;
    s.db.run_sql("UPDATE sessions SET session_deadline = '-infinity' WHERE session_component_name = 'fixture'")
        .await
        .unwrap();
    let mut blocker = begun(&s.db).await;
    lock_item(&mut blocker, machines[1]).await;

    let mut planner = begun(&s.db).await;
    start_agents(&mut planner, &machines).await;
    let mut janitor = begun(&s.db).await;
    assert_eq!(
        session::lock_expired(&mut janitor, 10).await.unwrap(),
        [lost]
    );

    let plan = async {
        plan::replan(&mut planner, &machines).await.unwrap();
        planner.batch_execute("COMMIT").await.unwrap();
    };
    let free = async {
        let items = reclaim::lock_items(&mut janitor, &[lost], 10)
            .await
            .unwrap();
        assert_eq!(items.len(), 2);
        janitor.batch_execute("COMMIT").await.unwrap();
    };
    let (first_waits, both_wait) = (waits(&s.db, 1), waits(&s.db, 2));
    let release = async {
        both_wait.await;
        blocker.batch_execute("ROLLBACK").await.unwrap();
    };
    if janitor_first {
        tokio::join!(
            free,
            async {
                first_waits.await;
                plan.await
            },
            release
        );
    } else {
        tokio::join!(
            plan,
            async {
                first_waits.await;
                free.await
            },
            release
        );
    }
}

async fn waits(db: &TestDb, statements: usize) {
    let waiting = format!(
        "(SELECT count(*) FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event_type = 'Lock') = {statements}"
    );
    until(db, &waiting).await;
}

#[tokio::test]
async fn a_planner_of_two_machines_and_a_janitor_of_both_take_turns() {
    check_planner_against_janitor(false).await;
    check_planner_against_janitor(true).await;
}

/// Ends of two machines, given in the wrong order, while a planner has locked the first machine's item
/// and goes on to the second's.
async fn check_ends_against_planner<F>(end: impl FnOnce(AsyncPgConnection, [Attempt; 2]) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let s = Scenario::new().await;
    let machines = two_machines(&s).await;
    let [first, second] = claimed(&s, machines).await;
    let mut planner = begun(&s.db).await;
    start_agents(&mut planner, &machines).await;
    plan::replan(&mut planner, &machines[..1]).await.unwrap();

    let ending = tokio::spawn(end(s.db.connect().await.unwrap(), [second, first]));
    until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
    plan::replan(&mut planner, &machines[1..]).await.unwrap();
    planner.batch_execute("COMMIT").await.unwrap();
    ending.await.unwrap();
    assert!(s.rows("SELECT 1 FROM work").await.is_empty());
}

#[tokio::test]
async fn failures_of_a_batch_lock_items_in_order_if_given_in_another() {
    check_ends_against_planner(async |mut conn, [second, first]| {
        let failed = FailedAttempt {
            delay_seconds: 1,
            interval_seconds: 1,
            cause: "test",
            fold: true,
        };
        let failures = [(&second, failed.clone()), (&first, failed)];
        let ended = work::fail_all(&mut conn, first.session, &failures).await;
        let ended = ended.unwrap();
        assert!(
            ended.iter().all(|e| matches!(e, Ended::Done(_))),
            "{ended:?}"
        );
    })
    .await;
}

#[tokio::test]
async fn releases_of_a_batch_lock_items_in_order_if_given_in_another() {
    check_ends_against_planner(async |mut conn, [second, first]| {
        let canceled = [(&second, Cancel::default()), (&first, Cancel::default())];
        let ended = work::cancel_all(&mut conn, first.session, &canceled).await;
        assert_eq!(ended.unwrap(), [Ended::Done(()), Ended::Done(())]);
    })
    .await;
}

#[tokio::test]
async fn finishes_of_a_batch_lock_items_in_order_and_do_not_wait_for_planned_machines() {
    check_ends_against_planner(async |mut conn, [second, first]| {
        let writes = TagWrites::new();
        let finishes = [&second, &first].map(|attempt| Finish {
            attempt,
            jitter: Jitter::default(),
            writes: &writes,
        });
        let known = KnownDefinitions::default();
        let how = How {
            waiting: Waiting::ForItems,
            ..How::default()
        };
        let ended = work::finish_all(&mut conn, first.session, &finishes, &known, how).await;
        let ended = ended.unwrap().ended;
        assert_eq!(ended, [Ended::Done(None), Ended::Done(None)]);
    })
    .await;
}

#[tokio::test]
async fn finishes_with_tags_wait_for_machines_before_they_lock_items() {
    check_ends_against_planner(async |mut conn, [second, first]| {
        let writes = TagWrites::new().agent_started(AgentStarted::now(b"finish"));
        let finishes = [&second, &first].map(|attempt| Finish {
            attempt,
            jitter: Jitter::default(),
            writes: &writes,
        });
        let known = KnownDefinitions::default();
        let how = How {
            waiting: Waiting::ForMachines,
            ..How::default()
        };
        let ended = work::finish_all(&mut conn, first.session, &finishes, &known, how).await;
        let ended = ended.unwrap().ended;
        assert_eq!(ended, [Ended::Done(None), Ended::Done(None)]);
        let how = How::default();
        let again = work::finish_all(&mut conn, first.session, &finishes, &known, how).await;
        assert_eq!(again.unwrap().ended, [Ended::Lost, Ended::Lost]);
    })
    .await;
}

/// Two lane mates are due on both machines, in opposite queue orders.
#[tokio::test]
async fn claims_of_lane_mates_in_opposite_queue_orders_do_not_deadlock() {
    let s = Scenario::new().await;
    let [first, second] = two_machines(&s).await;
    s.create_view(
        "CREATE VIEW acme_workflow_probe AS
         SELECT machine_id, provider, NULL::timestamptz AS ready_at FROM machine_provided",
    )
    .await;
    let mut blocker = s.db.connect().await.unwrap();
    let lane = process::of(&mut blocker, &START).await.unwrap().lane;
    let probe = ProcessDef::new(PROBE).lane(lane);
    s.owner()
        .await
        .define_process(&probe.workflow("acme_workflow_probe"))
        .await
        .unwrap();
    let order = format!(
        "UPDATE work_item SET plan_at = now() - CASE
             WHEN (process = '{START}') = (machine_id = '{second}') THEN interval '2 hours'
             ELSE interval '1 hour' END"
    );
    s.db.run_sql(&order).await.unwrap();

    // Another session is about to release the lane of the second machine.
    let sessions = [
        s.db.session(HOUR).await.unwrap(),
        s.db.session(HOUR).await.unwrap(),
        s.db.session(HOUR).await.unwrap(),
    ];
    blocker.batch_execute("BEGIN").await.unwrap();
    let blocking = work::claim_machine(&mut blocker, second, &ACCESS, sessions[0]).await;
    let blocking = blocking.unwrap().unwrap();

    let claim = |process: Process, session, mut conn: AsyncPgConnection| {
        tokio::spawn(async move { work::claim(&mut conn, &process, None, session, 2).await })
    };
    let starting = claim(START, sessions[1], s.db.connect().await.unwrap());
    waits(&s.db, 1).await;
    let probing = claim(PROBE, sessions[2], s.db.connect().await.unwrap());
    waits(&s.db, 2).await;
    let attempt = Attempt {
        machine: second,
        process: ACCESS,
        session: sessions[0],
        fence: blocking.fence,
        started_at: blocking.started_at,
    };
    work::cancel(&mut blocker, &attempt).await.unwrap();
    blocker.batch_execute("COMMIT").await.unwrap();

    let started = starting.await.unwrap().unwrap().unwrap();
    let machines: Vec<MachineId> = started.iter().map(|c| c.machine).collect();
    assert_eq!(machines, [first, second]);
    let refused = probing.await.unwrap().unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LaneTaken);
}

/// The deadlock that no order avoids: a claim with a stale snapshot of the lane waits for the lane mate's
/// finish, whose plan needs the claimed item. One of them loses, and is run again as a whole.
#[tokio::test]
async fn a_claim_and_the_finish_that_plans_its_item_succeed_although_they_deadlock() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let gate = Gate::closed(&s.db, Before::LockingItems).await;
    let config = Config::new(gate.url()).component("test");
    let bmdb = Bmdb::connect(config.janitor_interval(None)).await.unwrap();
    let claiming = tokio::spawn(async move {
        let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
        session.claim(&Claim::of(&START)).await.unwrap().len()
    });
    gate.reached(&s.db).await;

    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    let (ended, go_on) = (Notify::new(), Notify::new());
    let finish = work.finish(async |tx| {
        ended.notify_one();
        go_on.notified().await;
        // For the next run, if there is one.
        go_on.notify_one();
        let started = AgentStarted::now(b"key");
        tx.set_agent_started(machine, &started).await
    });
    let race = async {
        ended.notified().await;
        gate.open().await;
        until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
        go_on.notify_one();
    };
    let (finished, ()) = tokio::join!(finish, race);
    finished.unwrap();
    assert_eq!(
        claiming.await.unwrap(),
        0,
        "the machine does not need it any more"
    );
    let deadlocks =
        "(SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()) = 1";
    until(&s.db, deadlocks).await;
    let items = "SELECT process, eligible, session_id IS NULL FROM work_item ORDER BY process";
    let planned = ["ShepherdAgentStart|f|t", "ShepherdRecovery|t|t"];
    assert_eq!(s.rows(items).await, planned);
}
