//! Closures that use other attempts and sessions: an error of those is not an error of this one.

use crate::scenario::{Scenario, work_on};
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_core::{Access, Isolation, SessionState, TxError, TxOptions};
use bmdb_model::Process;
use bmdb_model::internal::{connection, machine, session};
use std::sync::Mutex;
use std::time::Duration;

const A: Process = Process::from_static("A");
const B: Process = Process::from_static("B");

fn serializable() -> TxOptions {
    let options = TxOptions::default();
    assert_eq!(options.isolation, Isolation::Serializable);
    options
}

// Post-mortem: the closure's `WorkLost` about another attempt was taken for this one's. The transaction was
// rolled back, nothing released the machine, and it stayed locked while the session lived.
#[tokio::test]
async fn a_finish_whose_closure_fails_on_another_lost_attempt_returns_its_own_work() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = work_on(&s.session, &A, machine).await.unwrap();
    let lost = work_on(&s.session, &B, machine).await.unwrap();
    s.db.run_sql("UPDATE work_item SET fence = fence + 1 WHERE process = 'B'")
        .await
        .unwrap();

    let lost = &Mutex::new(Some(lost));
    let finished = work.finish(async |_| {
        let lost = lost.lock().unwrap().take().unwrap();
        lost.complete().await.map_err(|error| error.into_parts().0)
    });
    let (reason, work) = finished.await.unwrap_err().into_parts();
    assert!(matches!(reason, TxError::WorkLost));
    work.unwrap().finish(async |_| Ok(())).await.unwrap();
    assert_eq!(s.db.rows("SELECT process FROM work").await.unwrap(), ["B"]);
}

#[tokio::test]
async fn a_closure_that_fails_on_another_expired_session_does_not_end_this_one() {
    let s = Scenario::new().await;
    let other = s.another_session().await;
    s.db.expire(other.id()).await.unwrap();
    let met = s
        .session
        .transact(async |_| other.transact(async |_| Ok(())).await)
        .await;
    assert!(matches!(met, Err(TxError::SessionExpired)));
    assert_eq!(s.session.state(), SessionState::Live);
    s.session.transact(async |_| Ok(())).await.unwrap();
}

// Post-mortem: a SERIALIZABLE transaction checked the lease again by the deadline at its beginning. It did
// not see a heartbeat in between, and gave the live session up.
#[tokio::test]
async fn a_serializable_finish_that_waits_longer_than_the_lease_had_left_still_finishes() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = work_on(&s.session, &A, machine).await.unwrap();
    let mut blocker = s.db.connect().await.unwrap();
    let id = s.session.id();
    // The finish begins with 300 ms left of the lease, and waits for the machine.
    s.db.run_sql(&format!(
        "UPDATE sessions SET session_deadline = clock_timestamp() + interval '300 ms' \
         WHERE session_id = '{id}'"
    ))
    .await
    .unwrap();
    connection::begin(&mut blocker, Isolation::ReadCommitted, Access::ReadWrite)
        .await
        .unwrap();
    machine::lock(&mut blocker, machine).await.unwrap();
    let finish = work.finish_with(serializable(), async |_| Ok(()));
    let release = async {
        until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
        let mut conn = s.db.connect().await.unwrap();
        let renewed = session::heartbeat(&mut conn, &[id]).await.unwrap();
        assert_eq!(renewed, [id]);
        tokio::time::sleep(Duration::from_millis(350)).await;
        connection::commit(&mut blocker).await.unwrap();
    };
    let (finished, ()) = tokio::join!(finish, release);
    finished.unwrap();
    assert_eq!(s.session.state(), SessionState::Live);
}
