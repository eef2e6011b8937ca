//! Which items a claim gets, and in which order.

use crate::scenario::{ACCESS, MINUTE, RECOVERY, START, Scenario, attempt};
use bmdb_model::internal::work::{self, Claimed, Gate};
use bmdb_model::{MachineId, Process, Provider, SessionId};

impl Scenario {
    async fn claim_of(&mut self, provider: Option<&Provider>, limit: i64) -> Vec<Claimed> {
        let claimed = work::claim(&mut self.conn, &START, provider, self.session, limit).await;
        claimed.unwrap().expect("the session lives")
    }

    pub(crate) async fn gate(&mut self, process: &Process, machine: MachineId) -> Gate {
        let gates = work::gates(&mut self.conn, process, &[machine])
            .await
            .unwrap();
        assert_eq!(gates[0].0, machine);
        gates[0].1.clone()
    }
}

fn machines(claimed: &[Claimed]) -> Vec<MachineId> {
    claimed.iter().map(|claimed| claimed.machine).collect()
}

#[tokio::test]
async fn the_longest_due_are_claimed_first() {
    let mut s = Scenario::new().await;
    let mut queue = Vec::new();
    for id in ["a", "b", "c"] {
        queue.push(s.provided(id).await);
        s.advance(60).await;
    }
    for provider in [Some(&Provider::EQUINIX), None, None] {
        assert_eq!(machines(&s.claim_of(provider, 1).await), [queue.remove(0)]);
    }
}

#[tokio::test]
async fn a_claim_takes_up_to_its_limit_of_its_provider_in_machine_order() {
    let mut s = Scenario::new().await;
    let mut equinix = Vec::new();
    for id in ["a", "b", "c"] {
        equinix.push(s.provided(id).await);
    }
    equinix.sort();
    let lumen =
        s.db.machine()
            .provided(&Provider::LUMEN, "a")
            .planned()
            .create()
            .await
            .unwrap();
    assert_eq!(s.claim_of(Some(&Provider::NONE), 10).await, []);
    assert_eq!(s.claim_of(None, 0).await, []);
    assert_eq!(
        machines(&s.claim_of(Some(&Provider::EQUINIX), 10).await),
        equinix
    );
    assert_eq!(machines(&s.claim_of(None, 10).await), [lumen]);
    assert_eq!(s.claim_of(None, 10).await, []);
}

#[tokio::test]
async fn every_claim_gets_a_greater_fence() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let mut last = bmdb_model::Fence::new(0);
    for _ in 0..3 {
        let claimed = s.claim_of(None, 1).await.remove(0);
        assert!(claimed.fence > last);
        last = claimed.fence;
        let attempt = attempt(&claimed, &START, s.session);
        s.cancel(&attempt).await;
    }
}

// Regression: clients cannot read infinity, so such an item was claimed, and its claim could not be
// read.
#[tokio::test]
async fn an_item_that_has_always_been_due_is_claimed_like_any_other() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    for provider in [Some(&Provider::EQUINIX), None] {
        let for_ever = "UPDATE work_item SET plan_at = '-infinity'";
        s.db.run_sql(for_ever).await.unwrap();
        let claimed = s.claim_of(provider, 10).await;
        assert_eq!(machines(&claimed), [machine]);
        assert_eq!(claimed[0].ready_at, None);
        let attempt = attempt(&claimed[0], &START, s.session);
        s.cancel(&attempt).await;
    }
}

#[tokio::test]
async fn each_of_the_three_gates_keeps_a_machine_from_being_claimed() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    for (shut, open) in [
        ("eligible = false", "eligible = true"),
        ("plan_at = now() + interval '1 hour'", "plan_at = now()"),
        (
            "backoff_until = now() + interval '1 hour'",
            "backoff_until = now()",
        ),
    ] {
        s.db.run_sql(&format!("UPDATE work_item SET {shut}"))
            .await
            .unwrap();
        assert_eq!(s.claim_of(None, 1).await, [], "{shut}");
        s.db.run_sql(&format!("UPDATE work_item SET {open}"))
            .await
            .unwrap();
    }
    let attempt = s.claim_one(&START).await;
    assert_eq!(s.claim_of(None, 1).await, [], "held");
    s.cancel(&attempt).await;
    assert_eq!(s.claim_of(None, 1).await.len(), 1);
}

#[tokio::test]
async fn a_claim_leaves_out_machines_whose_lane_is_taken() {
    let mut s = Scenario::new().await;
    let (taken, free) = (s.provided("taken").await, s.provided("free").await);
    s.claim_machine(taken, &ACCESS).await;
    assert_eq!(machines(&s.claim_of(None, 10).await), [free]);
}

#[tokio::test]
async fn an_expired_or_unknown_session_claims_nothing() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    s.db.expire(s.session).await.unwrap();
    for session in [s.session, SessionId::random()] {
        for provider in [Some(&Provider::EQUINIX), None] {
            let claimed = work::claim(&mut s.conn, &START, provider, session, 1)
                .await
                .unwrap();
            assert_eq!(claimed, None);
        }
    }
    assert_eq!(s.rows("SELECT * FROM work").await, [""; 0]);
}

#[tokio::test]
async fn an_expired_session_is_reported_even_when_nothing_is_due() {
    let mut s = Scenario::new().await;
    s.db.expire(s.session).await.unwrap();
    let claimed = work::claim(&mut s.conn, &START, None, s.session, 1)
        .await
        .unwrap();
    assert_eq!(claimed, None);
}

#[tokio::test]
async fn a_machine_is_claimed_for_a_process_that_has_no_item_yet() {
    let mut s = Scenario::new().await;
    let machine = s.db.machine().create().await.unwrap();
    let inventory = Process::from_static("Inventory");
    s.claim_machine(machine, &inventory).await;
    s.claim_machine(machine, &ACCESS).await;
    let held =
        "SELECT process, lane, eligible FROM work_item WHERE session_id IS NOT NULL ORDER BY 1";
    assert_eq!(
        s.rows(held).await,
        ["Inventory|Inventory|f", "ShepherdAccess|shepherd|f"]
    );
    let again = work::claim_machine(&mut s.conn, machine, &inventory, s.session)
        .await
        .unwrap();
    assert_eq!(again, None, "it is held");
}

#[tokio::test]
async fn a_machine_that_backs_off_is_not_claimed_even_when_its_gates_looked_open() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 10, "no answer").await;
    let claimed = work::claim_machine(&mut s.conn, machine, &START, s.session)
        .await
        .unwrap();
    assert_eq!(claimed, None);
    s.advance(11).await;
    let claimed = work::claim_machine(&mut s.conn, machine, &START, s.session)
        .await
        .unwrap();
    assert_eq!(
        claimed.map(|c| (c.failures, c.previous_interval)),
        Some((1, Some(10)))
    );
}

#[tokio::test]
async fn the_gates_name_what_keeps_a_process_from_a_machine() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    assert_eq!(s.gate(&START, machine).await, Gate::Open);
    let attempt = s.claim_one(&START).await;
    assert_eq!(s.gate(&RECOVERY, machine).await, Gate::LaneTaken);
    s.fail(&attempt, 60, "no answer").await;
    assert_eq!(s.gate(&RECOVERY, machine).await, Gate::Open);
    let gate = s.gate(&START, machine).await;
    let row = bmdb_model::backoff::of(&mut s.conn, machine, &START)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(gate, Gate::BackedOff { until: row.until });
    s.db.advance(2 * MINUTE).await.unwrap();
    assert_eq!(s.gate(&START, machine).await, Gate::Open);

    let on_hold = s.db.machine().hold("disk").create().await.unwrap();
    assert_eq!(s.gate(&START, on_hold).await, Gate::OnHold);
    assert_eq!(s.gate(&START, MachineId::random()).await, Gate::Unknown);
}

#[tokio::test]
async fn gates_are_returned_in_the_given_order() {
    let mut s = Scenario::new().await;
    let mut asked = vec![MachineId::random()];
    for id in ["a", "b", "c"] {
        asked.push(s.provided(id).await);
    }
    asked.reverse();
    let gates = work::gates(&mut s.conn, &START, &asked).await.unwrap();
    assert_eq!(
        gates
            .iter()
            .map(|(machine, _)| *machine)
            .collect::<Vec<_>>(),
        asked
    );
}
