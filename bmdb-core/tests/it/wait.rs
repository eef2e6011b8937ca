//! Waits for a condition of the database instead of sleeping.

use bmdb_testkit::TestDb;
use std::time::Duration;
use tokio::time::Instant;

/// A statement waits for an advisory lock, as at a gate.
pub(crate) const A_STATEMENT_WAITS_AT_THE_GATE: &str = "EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'advisory')";

/// A statement waits for a row that another transaction has locked.
pub(crate) const A_TRANSACTION_WAITS_FOR_A_ROW: &str = "EXISTS (
    SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
      AND wait_event IN ('transactionid', 'tuple'))";

/// Waits until `condition`, an SQL expression, is true; panics if it does not come true.
pub(crate) async fn until(db: &TestDb, condition: &str) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while db.rows(&format!("SELECT {condition}")).await.unwrap() != ["t"] {
        assert!(
            Instant::now() < deadline,
            "the condition never came true: {condition}"
        );
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
