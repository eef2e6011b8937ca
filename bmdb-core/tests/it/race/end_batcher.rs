//! Ends of several attempts in one statement, against the janitor of their session.

use super::order::{begun, lock_item, two_machines};
use crate::scenario::{RETRY, Scenario};
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_core::{Claim, TxError};
use bmdb_model::internal::{reclaim, session};
use bmdb_model::{MachineId, Process};
use diesel_async::SimpleAsyncConnection;
use std::time::Duration;

const START: Process = Process::SHEPHERD_AGENT_START;

#[tokio::test]
async fn a_batch_of_ends_changes_nothing_after_a_faster_janitor() {
    let s = Scenario::new().await;
    let machines = two_machines(&s).await;
    let claimed = s.session.claim(&Claim::of(&START).limit(2)).await.unwrap();
    s.db.expire(s.session.id()).await.unwrap();
    let mut janitor = begun(&s.db).await;
    let locked = session::lock_expired(&mut janitor, 10).await.unwrap();
    assert_eq!(locked, [s.session.id()]);
    reclaim::lock_items(&mut janitor, &locked, 10)
        .await
        .unwrap();

    let failures = claimed.into_iter().map(|work| (work, &RETRY, "late"));
    let refused = tokio::time::timeout(Duration::from_secs(2), s.session.fail_all(failures));
    for refused in refused.await.expect("it waits") {
        let (reason, work) = refused.unwrap_err().into_parts();
        assert!(matches!(reason, TxError::SessionExpired), "{reason}");
        assert!(work.is_none());
    }
    janitor.batch_execute("ROLLBACK").await.unwrap();
    let losses = s.bmdb.reclaim_expired().await.unwrap();
    let mut lost: Vec<MachineId> = losses.attempts.iter().map(|a| a.machine).collect();
    lost.sort_unstable();
    assert_eq!(lost, machines);
    let outcomes = s.rows("SELECT outcome FROM work_attempt").await;
    assert_eq!(outcomes, ["Expired", "Expired"]);
}

#[tokio::test]
async fn a_batch_of_ends_that_was_faster_leaves_the_janitor_nothing() {
    let s = Scenario::new().await;
    let [first, _] = two_machines(&s).await;
    let claimed = s.session.claim(&Claim::of(&START).limit(2)).await.unwrap();
    let mut blocker = begun(&s.db).await;
    lock_item(&mut blocker, first).await;
    let turn = async {
        until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
        s.db.expire(s.session.id()).await.unwrap();
        assert_eq!(s.bmdb.reclaim_expired().await.unwrap().sessions, []);
        blocker.batch_execute("ROLLBACK").await.unwrap();
    };
    let (ended, ()) = tokio::join!(s.session.cancel_all(claimed), turn);
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    let losses = s.bmdb.reclaim_expired().await.unwrap();
    assert_eq!(
        (losses.sessions, losses.attempts),
        (vec![s.session.id()], vec![])
    );
    let outcomes = s.rows("SELECT outcome FROM work_attempt").await;
    assert_eq!(outcomes, ["Canceled", "Canceled"]);
}
