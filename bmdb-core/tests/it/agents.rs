//! Heartbeats of many agents at once: one statement, planned only if needed, and always HOT updates.

use crate::dedicated_server;
use crate::scenario::{Scenario, connect, counted};
use bmdb_core::{SessionOptions, TxError};
use bmdb_model::{AgentHeartbeat, AgentStarted, Error, MachineId};
use bmdb_testkit::{Profile, TestDb};
use chrono::{DateTime, TimeDelta};
use std::time::Duration;

const PLANS: &str = "SELECT i.plan_at = h.agent_heartbeat_at + interval '10 min'
    FROM work_item i JOIN machine_agent_heartbeat h USING (machine_id)
    WHERE process = 'ShepherdRecovery' ORDER BY machine_id";
const VERSIONS: &str = "SELECT machine_version FROM machines ORDER BY machine_id";
const HEARTBEATS: &str =
    "SELECT agent_heartbeat_at FROM machine_agent_heartbeat ORDER BY machine_id";
const UPDATES: &str = "SELECT n_tup_upd || ' ' || n_tup_hot_upd FROM pg_stat_user_tables
    WHERE relname = 'machine_agent_heartbeat'";

impl Scenario {
    /// A machine with an agent that has just been started.
    async fn started(&self, id: &str) -> MachineId {
        let machine = self.provided(id).await;
        let agent = AgentStarted::now(b"key");
        self.session
            .transact(async |tx| tx.set_agent_started(machine, &agent).await)
            .await
            .unwrap();
        machine
    }
}

fn now(machines: &[MachineId]) -> Vec<AgentHeartbeat> {
    machines.iter().map(|machine| (*machine, None)).collect()
}

#[tokio::test]
async fn first_heartbeats_are_planned_and_later_ones_are_not() {
    let s = Scenario::new().await;
    let machines = [s.started("a").await, s.started("b").await];
    let unknown = s.session.heartbeat_agents(&now(&machines)).await.unwrap();
    assert_eq!(unknown, []);
    assert_eq!(s.rows(PLANS).await, ["t", "t"]);

    let (versions, heartbeats) = (s.rows(VERSIONS).await, s.rows(HEARTBEATS).await);
    s.session.heartbeat_agents(&now(&machines)).await.unwrap();
    s.session
        .transact(async |tx| tx.set_agent_heartbeats(&now(&machines)).await)
        .await
        .unwrap();
    assert_eq!(s.rows(VERSIONS).await, versions, "nothing is touched");
    assert_eq!(s.rows(PLANS).await, ["f", "f"], "the plan is left early");
    let later = s.rows(HEARTBEATS).await;
    assert!(
        heartbeats[0] < later[0] && heartbeats[1] < later[1],
        "{later:?}"
    );
}

#[tokio::test]
async fn a_heartbeat_moved_back_is_planned_and_the_latest_of_a_batch_counts() {
    let s = Scenario::new().await;
    let machine = s.started("a").await;
    s.session.heartbeat_agents(&now(&[machine])).await.unwrap();
    let clock = s
        .rows("SELECT round(extract(epoch FROM now()))::bigint")
        .await;
    let clock = DateTime::from_timestamp(clock[0].parse().unwrap(), 0).unwrap();
    let ago = |minutes| Some(clock - TimeDelta::minutes(minutes));
    let batch = [(machine, ago(9)), (machine, ago(2)), (machine, ago(7))];
    for within in [false, true] {
        if within {
            let set = s
                .session
                .transact(async |tx| tx.set_agent_heartbeats(&batch).await);
            set.await.unwrap();
        } else {
            s.session.heartbeat_agents(&batch).await.unwrap();
        }
        assert_eq!(s.rows(PLANS).await, ["t"]);
        let two = "SELECT round(extract(epoch FROM now() - agent_heartbeat_at) / 60)
                   FROM machine_agent_heartbeat";
        assert_eq!(s.rows(two).await, ["2"]);
        let with_now = [(machine, None), (machine, ago(3))];
        s.session.heartbeat_agents(&with_now).await.unwrap();
        assert_eq!(s.rows(two).await, ["0"]);
    }
}

#[tokio::test]
async fn machines_that_do_not_exist_are_returned_or_refused() {
    let s = Scenario::new().await;
    let (known, fresh) = (s.started("a").await, s.started("b").await);
    s.session.heartbeat_agents(&now(&[known])).await.unwrap();
    let mut missing = [MachineId::random(), MachineId::random()];
    missing.sort_unstable();
    let batch = now(&[missing[1], known, fresh, missing[0]]);
    assert_eq!(s.session.heartbeat_agents(&batch).await.unwrap(), missing);
    assert_eq!(s.rows(HEARTBEATS).await.len(), 2, "the others are written");

    let refused = s
        .session
        .transact(async |tx| tx.set_agent_heartbeats(&batch).await);
    let refused = refused.await.unwrap_err();
    let named =
        matches!(&refused, TxError::Database(Error::NoSuchMachine(id)) if missing.contains(id));
    assert!(named, "{refused:?}");
    assert_eq!(s.session.heartbeat_agents(&[]).await.unwrap(), []);
}

#[tokio::test]
async fn an_expired_session_writes_no_heartbeat() {
    let s = Scenario::new().await;
    let machine = s.started("a").await;
    s.session.heartbeat_agents(&now(&[machine])).await.unwrap();
    let heartbeats = s.rows(HEARTBEATS).await;
    s.db.expire(s.session.id()).await.unwrap();
    let refused = s.session.heartbeat_agents(&now(&[machine])).await;
    assert!(
        matches!(refused, Err(TxError::SessionExpired)),
        "{refused:?}"
    );
    assert_eq!(s.rows(HEARTBEATS).await, heartbeats);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_in_opposite_orders_do_not_wait_for_each_other() {
    let s = Scenario::new().await;
    let fleet = s.fleet(400).await;
    let other = connect(&s.db).await;
    let session = other
        .start_session(SessionOptions::default())
        .await
        .unwrap();
    let (forth, back) = (
        now(&fleet),
        now(&fleet).into_iter().rev().collect::<Vec<_>>(),
    );
    for _ in 0..30 {
        let (a, b) = tokio::join!(
            s.session.heartbeat_agents(&forth),
            session.heartbeat_agents(&back)
        );
        assert!(a.unwrap().is_empty() && b.unwrap().is_empty());
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(s.rows(deadlocks).await, ["0"]);
}

#[tokio::test]
async fn a_batch_is_one_request_and_every_update_is_hot() {
    // A writing transaction in any database of the server prevents the pruning of old row versions.
    let server = dedicated_server::server(Profile::Fast).await;
    let s = Scenario::on(TestDb::on(&server).await.unwrap()).await;
    let fleet = s.fleet(5000).await;
    let (proxy, bmdb, session) = counted(&s.db).await;
    // Prepares the statement.
    session.heartbeat_agents(&[]).await.unwrap();

    let before = proxy.requests();
    for round in 1..=6 {
        for batch in fleet.chunks(1000) {
            let unknown = session.heartbeat_agents(&now(batch)).await.unwrap();
            assert_eq!(unknown, []);
        }
        assert_eq!(proxy.requests() - before, round * 5);
    }
    // A server process reports its statistics when it ends.
    session.close().await.unwrap();
    drop(bmdb);
    for _ in 0..100 {
        if s.rows(UPDATES).await == ["30000 30000"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(s.rows(UPDATES).await, ["30000 30000"]);
}

impl Scenario {
    /// Machines with heartbeats, in the order in which the heartbeats are stored, so that a batch writes every
    /// row of its pages.
    async fn fleet(&self, machines: u32) -> Vec<MachineId> {
        let fleet = format!(
            "CREATE TEMP TABLE f AS SELECT gen_random_uuid() AS id FROM generate_series(1, {machines});
             INSERT INTO machines (machine_id) SELECT id FROM f;
             INSERT INTO machine_agent_heartbeat SELECT id, now() FROM f;"
        );
        self.db.run_sql(&fleet).await.unwrap();
        let ids = self
            .rows("SELECT machine_id FROM machine_agent_heartbeat ORDER BY ctid")
            .await;
        ids.iter().map(|id| id.parse().unwrap()).collect()
    }
}
