//! `Session::work`: which machine it claims, and why it claims none.

use crate::scenario::{RETRY, Scenario, work_and_give_back, work_on};
use bmdb_core::{Bmdb, Session, TxError, Work, WorkError};
use bmdb_model::{Error, MachineId, Process};
use std::sync::atomic::{AtomicU32, Ordering};

const ACCESS: Process = Process::SHEPHERD_ACCESS;

async fn work_on_any(session: &Session, machines: &[MachineId]) -> Result<Work, WorkError> {
    session.work(&ACCESS, async |_| Ok(machines.to_vec())).await
}

impl Scenario {
    pub(crate) async fn hold(&self, machine: MachineId) {
        self.session
            .transact(async |tx| tx.hold(machine, "disk").await)
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn an_empty_retrieval_is_nothing_to_do() {
    let s = Scenario::new().await;
    let nothing = work_on_any(&s.session, &[]).await;
    assert!(
        matches!(nothing, Err(WorkError::NothingToDo)),
        "{nothing:?}"
    );
}

#[tokio::test]
async fn a_machine_on_hold_is_not_claimed_until_it_is_released() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.hold(machine).await;
    match work_on(&s.session, &ACCESS, machine).await {
        Err(WorkError::OnHold { machine: on_hold }) => assert_eq!(on_hold, machine),
        other => panic!("{other:?}"),
    }
    s.session
        .transact(async |tx| tx.release_hold(machine).await)
        .await
        .unwrap();
    work_and_give_back(&s.session, &ACCESS, machine).await;
}

#[tokio::test]
async fn a_backoff_in_force_is_returned_with_its_end() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    let failed = work.fail(&RETRY, "no answer").await.unwrap();
    match work_on(&s.session, &ACCESS, machine).await {
        Err(WorkError::BackedOff {
            machine: resting,
            until,
        }) => {
            assert_eq!((resting, until), (machine, failed.until));
        }
        other => panic!("{other:?}"),
    }
    s.advance(2).await;
    work_and_give_back(&s.session, &ACCESS, machine).await;
}

#[tokio::test]
async fn an_unknown_machine_is_named_in_the_error() {
    let s = Scenario::new().await;
    let unknown = MachineId::random();
    match work_on(&s.session, &ACCESS, unknown).await {
        Err(WorkError::Database(Error::NoSuchMachine(machine))) => assert_eq!(machine, unknown),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn the_first_claimable_candidate_is_claimed() {
    let s = Scenario::new().await;
    let (on_hold, claimed, free) = (
        s.provided("a").await,
        s.provided("b").await,
        s.provided("c").await,
    );
    s.hold(on_hold).await;
    let work = work_on(&s.another_session().await, &ACCESS, claimed)
        .await
        .unwrap();
    let candidates = [on_hold, MachineId::random(), claimed, free];
    let found = work_on_any(&s.session, &candidates).await.unwrap();
    assert_eq!((found.machine(), found.process()), (free, &ACCESS));
    work.cancel().await.unwrap();
    found.cancel().await.unwrap();
}

#[tokio::test]
async fn without_a_claimable_candidate_the_first_ones_reason_is_returned() {
    let s = Scenario::new().await;
    let (on_hold, claimed) = (s.provided("a").await, s.provided("b").await);
    s.hold(on_hold).await;
    let work = work_on(&s.another_session().await, &ACCESS, claimed)
        .await
        .unwrap();
    let first_on_hold = work_on_any(&s.session, &[on_hold, claimed]).await;
    assert!(matches!(first_on_hold, Err(WorkError::OnHold { machine }) if machine == on_hold));
    let first_claimed = work_on_any(&s.session, &[claimed, on_hold]).await;
    assert!(matches!(first_claimed, Err(WorkError::Conflict { machine }) if machine == claimed));
    work.cancel().await.unwrap();
}

#[tokio::test]
async fn only_a_machine_that_is_retrieved_again_under_the_lock_is_claimed() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let looks = AtomicU32::new(0);
    let found = s.session.work(&ACCESS, async |_| {
        let is_first = looks.fetch_add(1, Ordering::Relaxed) == 0;
        Ok(if is_first { vec![machine] } else { vec![] })
    });
    let found = found.await;
    assert!(matches!(found, Err(WorkError::NothingToDo)), "{found:?}");
    assert_eq!(s.rows("SELECT * FROM work_attempt").await, [""; 0]);
}

#[tokio::test]
async fn a_failed_retrieval_claims_nothing_and_its_error_is_returned() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let failed = s
        .session
        .work(&ACCESS, async |_| Err(TxError::abort("no idea")))
        .await;
    match failed {
        Err(WorkError::Transaction(TxError::Aborted(reason))) => {
            assert_eq!(reason.to_string(), "no idea");
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_expired_session_claims_no_work() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.db.expire(s.session.id()).await.unwrap();
    // The first time the database reports it, the second time the session knows it.
    for _ in 0..2 {
        let refused = work_on(&s.session, &ACCESS, machine).await;
        assert!(
            matches!(refused, Err(WorkError::SessionExpired)),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn the_history_has_start_and_finish_with_machine_and_process() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    assert_eq!(events(&s.bmdb, machine).await, ["ShepherdAccess Started"]);
    work.finish(async |_| Ok(())).await.unwrap();
    let both = ["ShepherdAccess Started", "ShepherdAccess Finished"];
    assert_eq!(events(&s.bmdb, machine).await, both);
    let history = s.bmdb.history_of(machine).await.unwrap();
    assert!(history.iter().all(|event| event.machine_id == machine));
    assert!(
        history
            .iter()
            .all(|event| event.session_id == s.session.id())
    );
}

async fn events(bmdb: &Bmdb, machine: MachineId) -> Vec<String> {
    let history = bmdb.history_of(machine).await.unwrap();
    history
        .iter()
        .map(|e| format!("{} {}", e.process, e.event.as_str()))
        .collect()
}
