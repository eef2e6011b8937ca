//! What the database refuses to store, even from other programs.

use crate::scenario::{ACCESS, RECOVERY, START, Scenario};
use bmdb_testkit::TestDb;

/// The statement fails on this constraint.
async fn refused(db: &TestDb, constraint: &str, sql: &str) {
    match db.run_sql(sql).await {
        Ok(()) => panic!("stored in spite of {constraint}: {sql}"),
        Err(error) => assert!(
            error.to_string().contains(&format!("{constraint:?}")),
            "{error}"
        ),
    }
}

#[tokio::test]
async fn a_lane_of_a_machine_is_claimed_at_most_once() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.claim_machine(machine, &START).await;
    let session = s.another_session().await;
    for mate in [ACCESS, RECOVERY] {
        let second_holder = format!(
            "INSERT INTO work_item (machine_id, process, lane, session_id, started_at)
             VALUES ('{machine}', '{mate}', 'shepherd', '{session}', now())"
        );
        refused(&s.db, "work_item_lane", &second_holder).await;
    }
    let held = format!("{machine}|{}|ShepherdAgentStart", s.session);
    assert_eq!(
        s.rows("SELECT machine_id, session_id, process FROM work")
            .await,
        [held]
    );
}

#[tokio::test]
async fn a_claimed_item_has_a_session_and_a_start_time() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let check = "work_item_check";
    refused(&s.db, check, "UPDATE work_item SET started_at = now()").await;
    let holder = format!("UPDATE work_item SET session_id = '{}'", s.session);
    refused(&s.db, check, &holder).await;

    s.claim_machine(machine, &START).await;
    refused(&s.db, check, "UPDATE work_item SET started_at = NULL").await;
    refused(&s.db, check, "UPDATE work_item SET session_id = NULL").await;
}

#[tokio::test]
async fn a_session_with_work_cannot_be_deleted() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_machine(machine, &START).await;
    refused(&s.db, "work_item_session_id_fkey", "DELETE FROM sessions").await;

    s.cancel(&attempt).await;
    s.db.run_sql("DELETE FROM sessions").await.unwrap();
}

#[tokio::test]
async fn an_eligible_item_has_a_place_in_the_queue() {
    let s = Scenario::new().await;
    s.provided("a").await;
    refused(
        &s.db,
        "work_item_check1",
        "UPDATE work_item SET plan_at = NULL",
    )
    .await;
}

#[tokio::test]
async fn the_database_refuses_invalid_names_too() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    for name in ["", "1st", "two words", "ä", &"x".repeat(64)] {
        let item = format!("INSERT INTO work_item (machine_id, process, lane) VALUES ('{machine}'");
        // An undefined process is its own lane, whatever the statement says.
        refused(
            &s.db,
            "work_item_lane_check",
            &format!("{item}, '{name}', 'lane')"),
        )
        .await;
        let lane = format!("INSERT INTO process_def (process, lane) VALUES ('Other', '{name}')");
        refused(&s.db, "process_def_lane_check", &lane).await;
        let definition =
            format!("INSERT INTO process_def (process, lane) VALUES ('{name}', 'lane')");
        refused(&s.db, "process_def_process_check", &definition).await;
        let provider = format!("UPDATE machine_provided SET provider = '{name}'");
        refused(&s.db, "machine_provided_provider_check", &provider).await;
    }
}

#[tokio::test]
async fn values_outside_their_range_are_refused() {
    let s = Scenario::new().await;
    s.provided("a").await;
    for (constraint, sql) in [
        (
            "sessions_session_interval_seconds_check",
            "UPDATE sessions SET session_interval_seconds = 0",
        ),
        (
            "sessions_session_interval_seconds_check",
            "UPDATE sessions SET session_interval_seconds = 86401",
        ),
        (
            "work_item_last_interval_seconds_check",
            "UPDATE work_item SET last_interval_seconds = 0",
        ),
        (
            "work_item_failures_check",
            "UPDATE work_item SET failures = -1",
        ),
        ("work_item_losses_check", "UPDATE work_item SET losses = -1"),
        (
            "work_item_backoff_ends",
            "UPDATE work_item SET backoff_until = 'infinity'",
        ),
        (
            "work_item_backoff_ends",
            "UPDATE work_item SET backoff_until = '-infinity'",
        ),
        (
            "process_def_loss_initial_seconds_check",
            "UPDATE process_def SET loss_initial_seconds = 0",
        ),
        (
            "process_def_check",
            "UPDATE process_def SET loss_maximum_seconds = 14",
        ),
        (
            "process_def_check1",
            "UPDATE process_def SET workflow = NULL",
        ),
        (
            "machine_provided_provider_status_check",
            "UPDATE machine_provided SET provider_status = 'Off'",
        ),
        (
            "machine_provided_provider_id_check",
            "UPDATE machine_provided SET provider_id = ''",
        ),
        (
            "schema_compatibility_singleton_check",
            "INSERT INTO schema_compatibility VALUES (false, '2')",
        ),
    ] {
        refused(&s.db, constraint, sql).await;
    }
}
