//! The counts behind the metrics.

use crate::scenario::{MINUTE, RECOVERY, START, Scenario};
use bmdb_model::counts::{self, FleetCounts, ProcessCounts};
use bmdb_model::{Process, Provider};

async fn agent_starts(s: &mut Scenario) -> ProcessCounts {
    let mut counted = counts::processes(&mut s.conn).await.unwrap();
    counted.retain(|counts| counts.process == START);
    counted.remove(0)
}

fn expected(
    process: Process,
    eligible: i64,
    due: i64,
    held: i64,
    backing_off: i64,
) -> ProcessCounts {
    ProcessCounts {
        process,
        eligible,
        due: Some(due),
        held,
        backing_off,
    }
}

#[tokio::test]
async fn an_empty_fleet_has_no_processes() {
    let mut s = Scenario::new().await;
    assert_eq!(counts::processes(&mut s.conn).await.unwrap(), []);
}

#[tokio::test]
async fn a_backoff_counts_while_it_is_in_force_and_no_longer() {
    let mut s = Scenario::new().await;
    for id in ["a", "b", "c"] {
        s.provided(id).await;
    }
    assert_eq!(agent_starts(&mut s).await, expected(START, 3, 3, 0, 0));
    let attempts = s.claim(&START).await;
    assert_eq!(agent_starts(&mut s).await, expected(START, 3, 0, 3, 0));
    s.fail(&attempts[0], 10, "no answer").await;
    s.cancel(&attempts[1]).await;
    assert_eq!(agent_starts(&mut s).await, expected(START, 3, 1, 1, 1));
    s.advance(11).await;
    assert_eq!(agent_starts(&mut s).await, expected(START, 3, 2, 1, 0));
}

#[tokio::test]
async fn work_that_comes_out_of_a_backoff_is_held_and_not_backing_off() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 10, "no answer").await;
    s.claim_machine_in_spite_of_backoff(machine).await;
    assert_eq!(agent_starts(&mut s).await, expected(START, 1, 0, 1, 0));
}

impl Scenario {
    async fn claim_machine_in_spite_of_backoff(&self, machine: bmdb_model::MachineId) {
        let claim = format!(
            "UPDATE work_item SET session_id = '{}', started_at = now() WHERE machine_id = '{machine}'",
            self.session
        );
        self.db.execute(&claim).await.unwrap();
    }
}

// Later heartbeats are not planned, so ten minutes on every healthy machine looked due for recovery.
#[tokio::test]
async fn what_is_due_for_a_time_driven_process_is_not_told_from_its_items() {
    let mut s = Scenario::new().await;
    let machine = s.db.machine().provided(&Provider::EQUINIX, "a");
    let started = machine.agent_started(40 * MINUTE).planned();
    started.create().await.unwrap();
    let counted = counts::processes(&mut s.conn).await.unwrap();
    let unknown = ProcessCounts {
        due: None,
        ..expected(RECOVERY, 1, 0, 0, 0)
    };
    assert_eq!(counted, [unknown]);
}

#[tokio::test]
async fn the_fleet_is_counted_by_tags_and_sessions_by_their_deadlines() {
    let mut s = Scenario::new().await;
    s.db.machine().create().await.unwrap();
    s.provided("a").await;
    let lumen =
        s.db.machine()
            .provided(&Provider::LUMEN, "b")
            .agent_started(MINUTE);
    lumen.hold("disk").create().await.unwrap();
    let expired = s.another_session().await;
    s.db.expire(expired).await.unwrap();
    let fleet = counts::fleet(&mut s.conn).await.unwrap();
    let expected = FleetCounts {
        machines: 3,
        provided: 2,
        agent_started: 1,
        on_hold: 1,
        live_sessions: 1,
    };
    assert_eq!(fleet, expected);
}
