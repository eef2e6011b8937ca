//! Reclaiming sessions that have more attempts than one transaction frees.

use super::component;
use crate::scenario::Scenario;
use std::time::Duration;

#[tokio::test]
async fn a_session_with_many_attempts_is_freed_in_batches_and_removed_with_the_last() {
    let s = Scenario::new().await;
    let bmdb = component(&s.db, None).await;
    s.unplanned(1100).await;
    bmdb.replan().await.unwrap();
    let lost = s.db.session(Duration::from_secs(60)).await.unwrap();
    s.hold_everything(lost).await;
    // Each batch is a transaction and has its own id.
    s.db.expire(lost).await.unwrap();
    let losses = bmdb.reclaim_expired().await.unwrap();
    assert_eq!((losses.sessions, losses.attempts.len()), (vec![lost], 1100));
    let batches = "SELECT count(*) FROM work_attempt WHERE outcome = 'Expired'
                   GROUP BY xmin ORDER BY 1";
    assert_eq!(s.rows(batches).await, ["100", "500", "500"]);
    assert_eq!(s.rows("SELECT 1 FROM work").await, [""; 0]);
    let rest = "SELECT DISTINCT losses, backoff_until > clock_timestamp() FROM work_item";
    assert_eq!(s.rows(rest).await, ["1|t"]);
}

#[tokio::test]
async fn a_session_with_exactly_one_batch_is_removed_too() {
    let s = Scenario::new().await;
    let bmdb = component(&s.db, None).await;
    s.unplanned(500).await;
    bmdb.replan().await.unwrap();
    let lost = s.db.session(Duration::from_secs(60)).await.unwrap();
    s.hold_everything(lost).await;
    s.db.expire(lost).await.unwrap();
    let losses = bmdb.reclaim_expired().await.unwrap();
    assert_eq!((losses.sessions, losses.attempts.len()), (vec![lost], 500));
}
