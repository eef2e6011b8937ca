//! The planner: what it writes, what it keeps, and when it writes nothing.

use crate::scenario::{MINUTE, START, Scenario};
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::{self, connection};
use bmdb_model::{
    AgentStarted, Error, MachineId, Process, Provided, Provider, agent, hold, machine, plan,
    provided,
};

/// The plans, without their times.
const PLANS: &str = "SELECT process, provider, eligible, plan_at IS NOT NULL
                     FROM work_item ORDER BY process";
/// Which transaction wrote the item, and its place in the queue.
const VERSIONS: &str = "SELECT process, xmin, plan_at FROM work_item ORDER BY process";

impl Scenario {
    async fn plan(&mut self, machine: MachineId) {
        self.write(machine, async |_| Ok(())).await.unwrap();
    }

    async fn hold(&mut self, machine: MachineId) {
        self.write(machine, async |conn| hold::set(conn, machine, "disk").await)
            .await
            .unwrap();
    }

    async fn release(&mut self, machine: MachineId) {
        self.write(machine, async |conn| hold::unset(conn, machine).await)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn a_hold_makes_ineligible_and_its_release_eligible_again() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.hold(machine).await;
    assert_eq!(s.rows(PLANS).await, ["ShepherdAgentStart|Equinix|f|f"]);
    assert_eq!(s.claim(&START).await, []);
    s.release(machine).await;
    assert_eq!(s.rows(PLANS).await, ["ShepherdAgentStart|Equinix|t|t"]);
    assert_eq!(s.claim_one(&START).await.machine, machine);
}

#[tokio::test]
async fn a_hold_does_not_end_claimed_work() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.hold(machine).await;
    s.fail(&attempt, 1, "no answer").await;
    s.advance(2).await;
    assert_eq!(s.claim(&START).await, []);
}

#[tokio::test]
async fn planning_again_keeps_the_place_in_the_queue() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.advance(60).await;
    let before = s.rows("SELECT plan_at FROM work_item").await;
    let moved = Provided::new(Provider::LUMEN, "a");
    s.write(machine, async |conn| {
        provided::set(conn, machine, &moved).await
    })
    .await
    .unwrap();
    assert_eq!(s.rows(PLANS).await, ["ShepherdAgentStart|Lumen|t|t"]);
    assert_eq!(s.rows("SELECT plan_at FROM work_item").await, before);
}

#[tokio::test]
async fn a_machine_that_was_ineligible_joins_the_end_of_the_queue() {
    let mut s = Scenario::new().await;
    let first = s.provided("first").await;
    s.advance(60).await;
    let second = s.provided("second").await;
    s.advance(60).await;
    s.hold(first).await;
    s.release(first).await;
    let queue = s
        .rows("SELECT machine_id FROM work_item ORDER BY ready_at")
        .await;
    assert_eq!(queue, [second.to_string(), first.to_string()]);
}

#[tokio::test]
async fn nothing_is_written_when_nothing_differs() {
    let mut s = Scenario::new().await;
    let ready = s.provided("ready").await;
    let started = s.db.machine().provided(&Provider::EQUINIX, "started");
    let started = started
        .agent_started(MINUTE)
        .planned()
        .create()
        .await
        .unwrap();
    let unwanted = s.db.machine().planned().create().await.unwrap();
    let before = s.rows(VERSIONS).await;
    assert_eq!(before.len(), 2);
    for machine in [ready, started, unwanted] {
        s.plan(machine).await;
    }
    assert_eq!(s.rows(VERSIONS).await, before);
}

#[tokio::test]
async fn a_first_heartbeat_makes_recovery_due_earlier_and_one_set_back_earlier_still() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let at: chrono::DateTime<chrono::Utc> = "2026-01-01T12:00:00Z".parse().unwrap();
    let (started, minutes) = (AgentStarted::at(at, b"key"), chrono::Duration::minutes);
    s.write(machine, async |conn| {
        agent::set_started(conn, machine, &started).await
    })
    .await
    .unwrap();
    let plan_at =
        "SELECT plan_at AT TIME ZONE 'UTC' FROM work_item WHERE process = 'ShepherdRecovery'";
    assert_eq!(s.rows(plan_at).await, ["2026-01-01 12:30:00"]);
    for (beat, expected) in [(5, "2026-01-01 12:15:00"), (2, "2026-01-01 12:12:00")] {
        let beat = Some(at + minutes(beat));
        s.write(machine, async |conn| {
            agent::set_heartbeat(conn, machine, beat).await
        })
        .await
        .unwrap();
        assert_eq!(s.rows(plan_at).await, [expected]);
    }
}

#[tokio::test]
async fn replanning_keeps_what_a_claim_wrote() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 4, "no answer").await;
    let facts = "SELECT backoff_until, last_interval_seconds, failures, cause, fence FROM work_item
                 WHERE process = 'ShepherdAgentStart'";
    let before = s.rows(facts).await;
    s.hold(machine).await;
    s.release(machine).await;
    assert_eq!(s.rows(facts).await, before);
}

#[tokio::test]
async fn touching_an_unknown_machine_names_it() {
    let mut s = Scenario::new().await;
    let known = s.provided("a").await;
    let unknown = MachineId::random();
    let error = machine::touch(&mut s.conn, &[known, unknown])
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("there is no machine {unknown}"));
    assert!(matches!(error, Error::NoSuchMachine(id) if id == unknown));
}

#[tokio::test]
async fn every_write_of_a_tag_counts_in_the_machines_version() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    for _ in 0..3 {
        s.plan(machine).await;
    }
    let found = machine::find(&mut s.conn, machine).await.unwrap().unwrap();
    assert_eq!((found.id, found.version), (machine, 3));
}

#[tokio::test]
async fn the_fleet_is_replanned_in_batches_that_skip_locked_machines() {
    let mut s = Scenario::new().await;
    let mut machines = Vec::new();
    for id in ["a", "b", "c", "d"] {
        machines.push(s.provided(id).await);
    }
    machines.sort();
    s.db.run_sql("UPDATE work_item SET eligible = false")
        .await
        .unwrap();

    let mut rival = s.db.connect().await.unwrap();
    connection::begin(&mut rival, Isolation::ReadCommitted, Access::ReadWrite)
        .await
        .unwrap();
    assert!(
        internal::machine::lock(&mut rival, machines[1])
            .await
            .unwrap()
    );

    let first = internal::plan::lock_chunk(&mut s.conn, None, 2)
        .await
        .unwrap();
    assert_eq!(first, [machines[0], machines[2]]);
    let second = internal::plan::lock_chunk(&mut s.conn, Some(machines[2]), 2)
        .await
        .unwrap();
    assert_eq!(second, [machines[3]]);
    assert_eq!(
        internal::plan::lock_chunk(&mut s.conn, Some(machines[3]), 2)
            .await
            .unwrap(),
        []
    );

    plan::replan(&mut s.conn, &first).await.unwrap();
    let mut repaired = s
        .rows("SELECT machine_id FROM work_item WHERE eligible")
        .await;
    repaired.sort();
    assert_eq!(repaired, [machines[0].to_string(), machines[2].to_string()]);
}

#[tokio::test]
async fn planning_nothing_is_fine() {
    let mut s = Scenario::new().await;
    plan::replan(&mut s.conn, &[]).await.unwrap();
    assert_eq!(s.claim(&Process::from_static("Unheard-of")).await, []);
}
