//! A hold binds at once, whatever the plan says.

use crate::scenario::{Scenario, connect, work_on};
use bmdb_core::operator::Operator;
use bmdb_core::{Claim, SessionOptions, Tx, WorkError};
use bmdb_model::{AgentStarted, MachineId, Process, Provider, machine};
use diesel_async::SimpleAsyncConnection;
use std::time::Duration;

const START: Process = Process::SHEPHERD_AGENT_START;
const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

const HOLD_ALL: &str =
    "INSERT INTO machine_hold (machine_id, reason) SELECT machine_id, 'flood' FROM machines";

/// Makes every second machine silent: the others need their agents started.
async fn fleet(s: &Scenario, machines: usize) -> Vec<MachineId> {
    let ids: Vec<String> = (0..machines).map(|id| id.to_string()).collect();
    let mut created = Vec::new();
    for id in &ids {
        created.push(s.provided(id).await);
    }
    let started = AgentStarted::now(b"key");
    for machine in created.iter().step_by(2) {
        let start = async |tx: &mut Tx<'_>| tx.set_agent_started(*machine, &started).await;
        s.session.transact(start).await.unwrap();
    }
    s.advance(3600).await;
    created
}

// Post-mortem: 298 machines were put on hold by SQL, and 298 were claimed. Verified by leaving the look at
// machine_hold out of claim.sql, claim_planned.sql and claim_machine.sql.
#[tokio::test]
async fn nothing_is_claimed_on_298_machines_that_were_put_on_hold_by_sql() {
    let s = Scenario::new().await;
    let machines = fleet(&s, 298).await;
    // The items still say that the machines are due.
    s.db.run_sql(HOLD_ALL).await.unwrap();
    for controlled in [false, true] {
        if controlled {
            s.db.run_sql(
                "INSERT INTO process_control VALUES ('ShepherdAgentStart'), ('ShepherdRecovery');
                 INSERT INTO process_limit (process, per, max_running)
                 VALUES ('ShepherdAgentStart', 'provider', 500), ('ShepherdRecovery', 'provider', 500)",
            )
            .await
            .unwrap();
        }
        for process in [&START, &RECOVERY] {
            let session = s.another_session().await;
            let any = Claim::of(process).limit(1000);
            let ours = any.clone().provider(&Provider::EQUINIX);
            for claim in [&any, &ours] {
                // Twice: the first claim finds out whether the process is controlled.
                for _ in 0..2 {
                    let claimed = session.claim(claim).await.unwrap();
                    assert!(claimed.is_empty(), "{claim:?}: {}", claimed.len());
                }
                let mut poller = session.poller(claim);
                let polled = tokio::time::timeout(Duration::from_millis(300), poller.next(1000));
                assert!(polled.await.is_err(), "{claim:?}");
            }
            let picked = session.work(process, async |_| Ok(machines.clone())).await;
            assert!(
                matches!(picked, Err(WorkError::OnHold { .. })),
                "{picked:?}"
            );
        }
    }
    let claimed = "SELECT count(*) FROM work_item WHERE session_id IS NOT NULL";
    assert_eq!(s.rows(claimed).await, ["0"]);
}

// Post-mortem: a hold waited for the machine's lock until the slow closure ended. Verified by touching the
// machine first in `operator/machines.rs` and in `Tx::hold`.
#[tokio::test]
async fn a_hold_does_not_wait_for_a_transaction_that_writes_the_machine() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let mut slow = s.db.connect().await.unwrap();
    slow.batch_execute("BEGIN").await.unwrap();
    machine::touch(&mut slow, &[machine]).await.unwrap();

    let ann = Operator::new("ann").reason("smoke");
    let hold = ann.hold(&s.session, machine);
    let soon = Duration::from_secs(3);
    tokio::time::timeout(soon, hold).await.unwrap().unwrap();
    assert!(
        s.session
            .claim(&Claim::of(&START))
            .await
            .unwrap()
            .is_empty()
    );
    let held = "SELECT reason FROM machine_hold";
    assert_eq!(s.rows(held).await, ["smoke"]);
    let recorded = "SELECT verb, reason FROM operator_action";
    assert_eq!(s.rows(recorded).await, ["HoldMachine|smoke"]);

    let hold = s
        .session
        .transact(async |tx| tx.hold(machine, "fire").await);
    tokio::time::timeout(soon, hold).await.unwrap().unwrap();
    assert_eq!(s.rows(held).await, ["fire"]);
    slow.batch_execute("COMMIT").await.unwrap();
}

#[tokio::test]
async fn a_hold_is_planned_and_a_missing_machine_is_named() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let ann = Operator::new("ann").reason("smoke");
    ann.hold(&s.session, machine).await.unwrap();
    let item = "SELECT eligible FROM work_item";
    assert_eq!(s.rows(item).await, ["f"]);
    assert!(ann.release_hold(&s.session, machine).await.unwrap());
    assert_eq!(s.rows(item).await, ["t"]);

    let missing = MachineId::random();
    let refused = ann.hold(&s.session, missing).await.unwrap_err().to_string();
    assert!(
        refused.contains(&format!("there is no machine {missing}")),
        "{refused}"
    );
    // The transaction can go on.
    let tried = s.session.transact(async |tx| {
        assert!(tx.hold(missing, "x").await.is_err());
        tx.hold(machine, "y").await
    });
    tried.await.unwrap();
    assert_eq!(s.rows("SELECT reason FROM machine_hold").await, ["y"]);
}

/// A hold that is committed between the look at the gates and the claim.
#[tokio::test]
async fn a_hold_between_the_look_at_the_gates_and_the_claim_of_one_machine_binds() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let mut conn = s.db.connect().await.unwrap();
    s.db.run_sql(HOLD_ALL).await.unwrap();
    let session = s.session.id();
    let claim = bmdb_model::internal::work::claim_machine(&mut conn, machine, &START, session);
    assert_eq!(claim.await.unwrap(), None);
    let bmdb = connect(&s.db).await;
    let other = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let refused = work_on(&other, &START, machine).await;
    assert!(
        matches!(refused, Err(WorkError::OnHold { .. })),
        "{refused:?}"
    );
}
