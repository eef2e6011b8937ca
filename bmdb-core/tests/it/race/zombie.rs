//! Zombies: sessions that end work which another session has claimed in the meantime.

use crate::scenario::{RETRY, Scenario, work_on};
use bmdb_core::{Session, TxError, Work};
use bmdb_model::internal::session;
use bmdb_model::internal::work::{self, Attempt, Ended};
use bmdb_model::{AgentStarted, MachineId, Process};
use diesel_async::SimpleAsyncConnection;
use std::time::Duration;

const ACCESS: Process = Process::SHEPHERD_ACCESS;

/// The first session has lost its work, and the second has claimed the machine.
async fn taken_over() -> (Scenario, Work, Session, Work) {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let zombie = work_on(&s.session, &ACCESS, machine).await.unwrap();
    s.db.expire(s.session.id()).await.unwrap();
    s.bmdb.reclaim_expired().await.unwrap();
    s.db.advance(Duration::from_secs(16)).await.unwrap();
    let session = s.another_session().await;
    let owner = work_on(&session, &ACCESS, machine).await.unwrap();
    assert!(owner.fence() > zombie.fence());
    (s, zombie, session, owner)
}

/// A finish whose tag names the finisher.
async fn finish_as(work: Work, finisher: &[u8]) -> Result<(), bmdb_core::EndError> {
    let machine = work.machine();
    work.finish(async |tx| {
        tx.set_agent_started(machine, &AgentStarted::now(finisher))
            .await
    })
    .await
}

async fn finishers(s: &Scenario) -> Vec<String> {
    let keys = "SELECT convert_from(agent_public_key, 'UTF8') FROM machine_agent_started";
    s.db.rows(keys).await.unwrap()
}

async fn outcomes(s: &Scenario) -> Vec<String> {
    let outcomes = "SELECT outcome FROM work_attempt ORDER BY fence";
    s.db.rows(outcomes).await.unwrap()
}

#[tokio::test]
async fn a_zombies_finish_after_the_next_claim_leaves_no_tag() {
    let (s, zombie, _session, owner) = taken_over().await;
    let refused = finish_as(zombie, b"zombie").await.unwrap_err();
    assert!(matches!(refused.reason(), TxError::SessionExpired));
    assert!(refused.into_work().is_none(), "the work is lost");
    assert!(finishers(&s).await.is_empty());

    finish_as(owner, b"owner").await.unwrap();
    assert_eq!(finishers(&s).await, ["owner"]);
    assert_eq!(outcomes(&s).await, ["Expired", "Finished"]);
}

#[tokio::test]
async fn a_zombies_finish_after_the_owners_changes_nothing() {
    let (s, zombie, _session, owner) = taken_over().await;
    finish_as(owner, b"owner").await.unwrap();
    let refused = finish_as(zombie, b"zombie").await.unwrap_err();
    assert!(matches!(refused.reason(), TxError::SessionExpired));
    assert_eq!(finishers(&s).await, ["owner"]);
    assert_eq!(outcomes(&s).await, ["Expired", "Finished"]);
}

#[tokio::test]
async fn a_zombies_fail_and_cancel_do_not_touch_the_owners_work() {
    let (s, zombie, _session, owner) = taken_over().await;
    let refused = zombie.fail(&RETRY, "zombie").await.unwrap_err();
    assert!(matches!(refused.reason(), TxError::SessionExpired));
    let fences = "SELECT fence FROM work_item WHERE session_id IS NOT NULL";
    let fence = owner.fence().to_string();
    assert_eq!(s.db.rows(fences).await.unwrap(), [fence]);
    owner.cancel().await.unwrap();
    assert_eq!(outcomes(&s).await, ["Expired", "Canceled"]);
}

fn attempt_of(work: &Work, session: &Session) -> Attempt {
    Attempt {
        machine: work.machine(),
        process: work.process().clone(),
        session: session.id(),
        fence: work.fence(),
        started_at: work.started_at(),
    }
}

/// Post-mortem: when ends were keyed on the session alone, a session's older claim could end its newer
/// one. They are keyed on the fence.
#[tokio::test]
async fn the_older_claim_of_the_same_session_cannot_end_the_newer_one() {
    let s = Scenario::new().await;
    let machine: MachineId = s.provided("1").await;
    let older = work_on(&s.session, &ACCESS, machine).await.unwrap();
    let mut operator = s.db.connect().await.unwrap();
    let attempt = attempt_of(&older, &s.session);
    let released = work::cancel(&mut operator, &attempt).await.unwrap();
    assert_eq!(released, Ended::Done(()));
    let newer = work_on(&s.session, &ACCESS, machine).await.unwrap();

    let refused = finish_as(older, b"older").await.unwrap_err();
    assert!(matches!(refused.reason(), TxError::WorkLost));
    assert!(refused.into_work().is_none());
    assert!(finishers(&s).await.is_empty());
    finish_as(newer, b"newer").await.unwrap();
    assert_eq!(finishers(&s).await, ["newer"]);
}

#[tokio::test]
async fn a_zombies_fail_in_the_middle_of_the_janitors_transaction_does_not_wait_for_it() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let zombie = work_on(&s.session, &ACCESS, machine).await.unwrap();
    s.db.expire(s.session.id()).await.unwrap();
    let mut janitor = s.db.connect().await.unwrap();
    janitor.batch_execute("BEGIN").await.unwrap();
    let locked = session::lock_expired(&mut janitor, 10).await.unwrap();
    assert_eq!(locked, [s.session.id()]);

    let fail = zombie.fail(&RETRY, "zombie");
    let refused = tokio::time::timeout(Duration::from_secs(2), fail).await;
    let refused = refused.expect("it waits").unwrap_err();
    assert!(matches!(refused.reason(), TxError::SessionExpired));
    janitor.batch_execute("ROLLBACK").await.unwrap();
    s.bmdb.reclaim_expired().await.unwrap();
    assert_eq!(outcomes(&s).await, ["Expired"]);
}
