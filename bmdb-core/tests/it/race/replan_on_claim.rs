//! A time-driven claim that is paused before it locks machines, while their tags are written.

use super::gate::{Before, Gate};
use crate::scenario::Scenario;
use bmdb_core::{Bmdb, Claim, Config, Session, SessionOptions, TxOptions, Work};
use bmdb_model::{AgentStarted, MachineId, Process};
use diesel_async::SimpleAsyncConnection;
use std::time::Duration;
use tokio::task::JoinHandle;

const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

/// The difference of a plan to its workflow view; empty if it is right.
const LATE: &str = "SELECT i.plan_at - v.ready_at FROM work_item i
    JOIN workflow_agent_recovery v USING (machine_id)
    WHERE i.process = 'ShepherdRecovery' AND i.plan_at IS DISTINCT FROM v.ready_at";

struct Race {
    s: Scenario,
    machine: MachineId,
    gate: Gate,
    paused: JoinHandle<(Session, Vec<Work>)>,
}

impl Race {
    /// A machine that was due by its last plan, although it sent a heartbeat a minute ago, and a paused
    /// claim that has read this.
    async fn begin() -> Self {
        let s = Scenario::new().await;
        let minutes = |m: u64| Duration::from_secs(60 * m);
        let provided = s.db.machine().provided(&bmdb_model::Provider::EQUINIX, "1");
        let silent = provided
            .agent_started(minutes(60))
            .agent_heartbeat(minutes(11));
        let machine = silent.planned().create().await.unwrap();
        s.db.run_sql(
            "UPDATE machine_agent_heartbeat SET agent_heartbeat_at = now() - interval '1 minute'",
        )
        .await
        .unwrap();
        let gate = Gate::closed(&s.db, Before::LockingItems).await;
        let config = Config::new(gate.url()).component("test");
        let bmdb = Bmdb::connect(config.janitor_interval(None)).await.unwrap();
        let paused = tokio::spawn(async move {
            let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
            let claimed = session.claim(&Claim::of(&RECOVERY)).await.unwrap();
            (session, claimed)
        });
        gate.reached(&s.db).await;
        Self {
            s,
            machine,
            gate,
            paused,
        }
    }

    async fn resume(self) -> (Scenario, Session, Vec<Work>) {
        self.gate.open().await;
        let (session, claimed) = self.paused.await.unwrap();
        (self.s, session, claimed)
    }
}

#[tokio::test]
async fn without_a_race_the_healthy_machine_is_replanned() {
    let (s, _session, claimed) = Race::begin().await.resume().await;
    assert!(claimed.is_empty(), "{claimed:?}");
    assert!(s.rows(LATE).await.is_empty());
}

/// By the older snapshot, the machine would become due in nine minutes.
#[tokio::test]
async fn after_a_heartbeat_that_is_set_back_the_machine_is_due() {
    let race = Race::begin().await;
    let machine = race.machine;
    let mut conn = race.s.db.connect().await.unwrap();
    conn.batch_execute("SET timezone = 'UTC'").await.unwrap();
    let at: chrono::DateTime<chrono::Utc> = race
        .s
        .rows("SELECT to_char(now() - interval '3 hours', 'YYYY-MM-DD\"T\"HH24:MI:SSOF\":00\"')")
        .await[0]
        .parse()
        .unwrap();
    race.s
        .session
        .transact_with(TxOptions::read_committed(), async |tx| {
            tx.set_agent_heartbeat(machine, Some(at)).await
        })
        .await
        .unwrap();
    let (s, _session, claimed) = race.resume().await;
    assert_eq!(claimed.len(), 1);
    assert!(s.rows(LATE).await.is_empty());
}

#[tokio::test]
async fn after_a_restart_of_the_agent_the_machine_is_not_claimed() {
    let race = Race::begin().await;
    let machine = race.machine;
    race.s
        .session
        .transact_with(TxOptions::read_committed(), async |tx| {
            tx.unset_agent(machine).await?;
            tx.set_agent_started(machine, &AgentStarted::now(b"new"))
                .await
        })
        .await
        .unwrap();
    let (s, _session, claimed) = race.resume().await;
    assert!(claimed.is_empty(), "{claimed:?}");
    assert!(s.rows(LATE).await.is_empty());
}

#[tokio::test]
async fn a_machine_that_is_put_on_hold_first_is_not_claimed() {
    let race = Race::begin().await;
    let machine = race.machine;
    race.s
        .db
        .run_sql(
            "UPDATE machine_agent_heartbeat SET agent_heartbeat_at = now() - interval '1 hour'",
        )
        .await
        .unwrap();
    race.s
        .session
        .transact_with(TxOptions::read_committed(), async |tx| {
            tx.hold(machine, "disk").await
        })
        .await
        .unwrap();
    let (_s, _session, claimed) = race.resume().await;
    assert!(claimed.is_empty(), "{claimed:?}");
}
