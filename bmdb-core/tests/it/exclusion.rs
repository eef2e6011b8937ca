//! Exclusion: on each machine, at most one process of a lane is claimed.

use crate::scenario::{RETRY, Scenario, work_and_give_back, work_on};
use bmdb_core::{Claim, WorkError};
use bmdb_model::{AgentStarted, MachineId, Process};
use std::sync::Mutex;

const ACCESS: Process = Process::SHEPHERD_ACCESS;
const START: Process = Process::SHEPHERD_AGENT_START;
const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

fn assert_conflict(result: Result<bmdb_core::Work, WorkError>, expected: MachineId) {
    match result {
        Err(WorkError::Conflict { machine }) => assert_eq!(machine, expected),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_process_is_claimed_on_a_machine_once_in_all_sessions() {
    let s = Scenario::new().await;
    let (machine, other) = (s.provided("a").await, s.provided("b").await);
    let rival = s.another_session().await;
    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    assert_conflict(work_on(&rival, &ACCESS, machine).await, machine);
    assert_conflict(work_on(&s.session, &ACCESS, machine).await, machine);
    work_and_give_back(&rival, &ACCESS, other).await;

    work.cancel().await.unwrap();
    work_and_give_back(&rival, &ACCESS, machine).await;
}

#[tokio::test]
async fn processes_of_other_lanes_are_claimed_at_the_same_time() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let shepherd = work_on(&s.session, &ACCESS, machine).await.unwrap();
    let inventory = Process::from_static("Inventory");
    let beside = work_on(&s.another_session().await, &inventory, machine)
        .await
        .unwrap();
    let claimed = s.rows("SELECT process FROM work ORDER BY process").await;
    assert_eq!(claimed, ["Inventory", "ShepherdAccess"]);
    shepherd.cancel().await.unwrap();
    beside.cancel().await.unwrap();
}

#[tokio::test]
async fn agent_start_and_recovery_exclude_each_other() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let rival = s.another_session().await;
    for (claimed, refused) in [(START, RECOVERY), (RECOVERY, START)] {
        let work = work_on(&s.session, &claimed, machine).await.unwrap();
        assert_conflict(work_on(&rival, &refused, machine).await, machine);
        if refused == START {
            assert!(rival.claim(&Claim::of(&START)).await.unwrap().is_empty());
        }
        work.cancel().await.unwrap();
    }
}

#[tokio::test]
async fn a_backoff_of_one_process_leaves_its_lane_free_for_the_others() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    work.fail(&RETRY, "no answer").await.unwrap();
    work_and_give_back(&s.session, &RECOVERY, machine).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_in_parallel_claim_each_of_six_machines_once() {
    let s = Scenario::new().await;
    let mut machines = Vec::new();
    for id in ["a", "b", "c", "d", "e", "f"] {
        machines.push(s.provided(id).await);
    }
    machines.sort();
    let worked = Mutex::new(Vec::new());
    let worker = async || {
        let session = s.another_session().await;
        // A rival's claim in flight hides its machines, so an empty answer proves nothing.
        while worked.lock().unwrap().len() < 6 {
            for work in session.claim(&Claim::of(&START)).await.unwrap() {
                let machine = work.machine();
                let agent = AgentStarted::now(machine.as_uuid());
                let finished = work.finish(async |tx| tx.set_agent_started(machine, &agent).await);
                finished.await.unwrap();
                worked.lock().unwrap().push(machine);
            }
        }
    };
    tokio::join!(worker(), worker(), worker());
    let mut worked = worked.into_inner().unwrap();
    worked.sort();
    assert_eq!(worked, machines);
    let attempts = s
        .rows("SELECT machine_id, outcome FROM work_attempt ORDER BY 1")
        .await;
    let finished: Vec<String> = machines.iter().map(|m| format!("{m}|Finished")).collect();
    assert_eq!(attempts, finished);
}
