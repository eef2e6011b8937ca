//! Claims of a process of which nothing is said: the first of a transaction looks, the others know.

use crate::scenario::{START, Scenario};
use bmdb_model::Provider;
use serde_json::Value;

const CLAIMED: &str = "SELECT count(*) FROM work_item WHERE session_id IS NOT NULL";

impl Scenario {
    async fn five_machines(&mut self) -> String {
        for id in ["a", "b", "c", "d", "e"] {
            self.provided(id).await;
        }
        format!(
            "UPDATE work_item SET session_id = '{}', started_at = clock_timestamp() WHERE process = '{START}'",
            self.session
        )
    }
}

#[tokio::test]
async fn a_batch_looks_once_whether_limits_hold() {
    let mut s = Scenario::new().await;
    s.five_machines().await;
    let claim = s.claim_text(Some(&Provider::NONE)).await;
    let sql = format!(
        "PREPARE claim AS {claim};
         EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE claim ('{START}', 'Equinix', NULL, '{}', 5)",
        s.session
    );
    let explained: Value = serde_json::from_str(&s.rows(&sql).await.remove(0)).unwrap();
    let triggers = explained[0]["Triggers"].as_array().unwrap().iter();
    let calls: Vec<(&str, f64)> = triggers
        .filter(|trigger| trigger["Constraint Name"].is_null())
        .map(|trigger| {
            let name = trigger["Trigger Name"].as_str().unwrap();
            (name, trigger["Calls"].as_f64().unwrap())
        })
        .collect();
    assert_eq!(calls, [("work_item_look", 1.0)]);
    assert_eq!(s.rows(CLAIMED).await, ["5"]);
}

#[tokio::test]
async fn a_limit_holds_in_the_transaction_that_sets_it_also_if_that_has_claimed_before() {
    let mut s = Scenario::new().await;
    let claim = s.five_machines().await;
    let sql = format!(
        "BEGIN; {claim} AND machine_id = (SELECT min(machine_id::text)::uuid FROM work_item);
         INSERT INTO process_control (process) VALUES ('{START}');
         INSERT INTO process_limit (process, per, max_running) VALUES ('{START}', 'process', 2);
         SELECT fit_slots('{START}');
         {claim} AND session_id IS NULL; COMMIT"
    );
    s.db.run_sql(&sql).await.unwrap();
    assert_eq!(s.rows(CLAIMED).await, ["2"]);
}

#[tokio::test]
async fn a_claim_of_another_process_in_the_same_transaction_looks_for_itself() {
    let mut s = Scenario::new().await;
    let claim = s.five_machines().await;
    let pause = "INSERT INTO process_control (process) VALUES ('Other');
                 INSERT INTO process_pause (process, paused_by, reason) VALUES ('Other', 'me', 'a test')";
    s.db.run_sql(pause).await.unwrap();
    let sql = format!(
        "BEGIN; {claim};
         INSERT INTO work_item (machine_id, process, lane, session_id, started_at)
         SELECT machine_id, 'Other', 'Other', '{}', clock_timestamp() FROM machines; COMMIT",
        s.session
    );
    s.db.run_sql(&sql).await.unwrap();
    let claimed = "SELECT process, count(*) FROM work_item WHERE session_id IS NOT NULL GROUP BY 1";
    assert_eq!(s.rows(claimed).await, [format!("{START}|5")]);
}

#[tokio::test]
async fn the_look_of_one_transaction_is_not_that_of_the_next() {
    let mut s = Scenario::new().await;
    let claim = s.five_machines().await;
    let sql = format!(
        "{claim} AND machine_id = (SELECT min(machine_id::text)::uuid FROM work_item);
         INSERT INTO process_control (process) VALUES ('{START}') ON CONFLICT DO NOTHING;
         INSERT INTO process_pause (process, paused_by, reason) VALUES ('{START}', 'me', 'a test');"
    );
    let mut conn = s.db.connect().await.unwrap();
    for statement in sql.split_inclusive(';').map(str::trim) {
        diesel_async::SimpleAsyncConnection::batch_execute(&mut conn, statement)
            .await
            .unwrap();
    }
    let rest = format!("{claim} AND session_id IS NULL");
    diesel_async::SimpleAsyncConnection::batch_execute(&mut conn, &rest)
        .await
        .unwrap();
    assert_eq!(s.rows(CLAIMED).await, ["1"]);
}

/// It would have turned limits off for every program with such a URL or role.
#[tokio::test]
async fn a_setting_of_the_connection_turns_no_limit_off() {
    let mut s = Scenario::new().await;
    let claim = s.five_machines().await;
    let sql = format!(
        "INSERT INTO process_control (process) VALUES ('{START}');
         INSERT INTO process_limit (process, per, max_running) VALUES ('{START}', 'process', 2);
         SELECT fit_slots('{START}');
         SET bmdb.uncontrolled = '{START}';
         {claim}"
    );
    s.db.run_sql(&sql).await.unwrap();
    assert_eq!(s.rows(CLAIMED).await, ["2"]);
}
