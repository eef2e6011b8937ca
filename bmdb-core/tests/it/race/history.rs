//! Failures that are folded into a history row, against the retention that deletes the row.

use crate::scenario::{RETRY, Scenario, work_on};
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::Retention;
use bmdb_model::Process;
use bmdb_model::internal::history;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};

const ACCESS: Process = Process::SHEPHERD_ACCESS;
const SAME: Backoff = Backoff::fixed(Seconds::new(1).unwrap());

const NOTHING: Retention = Retention {
    attempts_per_machine: 0,
    seconds: 3600,
};

async fn trim(conn: &mut AsyncPgConnection) {
    let trimmed = history::trim(conn, NOTHING, None, 10).await.unwrap();
    assert_eq!(trimmed.rows, 1, "one row is deleted");
}

/// A second failure like the first waits for the row that `keep` locks; then the first one's history row
/// is deleted. The second must not be lost with it.
async fn check_folding_into_a_deleted_row(trimmed_before_the_wait: bool) {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let first = work_on(&s.session, &ACCESS, machine).await.unwrap();
    first.fail(&SAME, "no answer").await.unwrap();
    s.advance(1).await;
    let second = work_on(&s.session, &ACCESS, machine).await.unwrap();
    let fence = second.fence();

    let mut rival = s.db.connect().await.unwrap();
    rival.batch_execute("BEGIN").await.unwrap();
    if trimmed_before_the_wait {
        trim(&mut rival).await;
    } else {
        let lock = "SELECT 1 FROM work_item WHERE session_id IS NOT NULL FOR NO KEY UPDATE";
        rival.batch_execute(lock).await.unwrap();
    }
    let failing = tokio::spawn(async move { second.fail(&SAME, "no answer").await });
    until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
    if !trimmed_before_the_wait {
        trim(&mut s.db.connect().await.unwrap()).await;
    }
    rival.batch_execute("COMMIT").await.unwrap();
    failing.await.unwrap().unwrap();

    let rows = "SELECT fence, last_fence, outcome, repeats FROM work_attempt";
    assert_eq!(s.rows(rows).await, [format!("{fence}|{fence}|Failed|0")]);
}

#[tokio::test]
async fn a_failure_that_cannot_be_folded_into_a_trimmed_row_gets_its_own() {
    check_folding_into_a_deleted_row(false).await;
    check_folding_into_a_deleted_row(true).await;
}

#[tokio::test]
async fn without_a_race_the_failure_is_folded() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    for _ in 0..2 {
        let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
        work.fail(&SAME, "no answer").await.unwrap();
        s.advance(1).await;
    }
    assert_eq!(s.rows("SELECT repeats FROM work_attempt").await, ["1"]);
    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    work.fail(&RETRY, "another reason").await.unwrap();
    assert_eq!(s.rows("SELECT 1 FROM work_attempt").await.len(), 2);
}
