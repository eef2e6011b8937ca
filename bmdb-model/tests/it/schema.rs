//! The names that operators' queries rely on, and what no migration may add.

use crate::scenario::{MINUTE, Scenario};
use bmdb_model::internal::session;
use bmdb_testkit::TestDb;
use std::time::Duration;

/// Tables and views with their columns, by name. Operators' queries and other releases use them:
/// a name may join, none may change or go.
const NAMES: &str = "\
agent_listener: listener_id provider session_id since
agent_listener_alive: listener_id provider session_id since
agent_listening: assumed heard_at observed_at pause provider since witness
agent_listening_since: assumed heard_at listened provider since
agent_quiet: machine_id provider quiet_at
agent_silence: machine_id provider silent_at
attempt_tally: count event minute process waited_ms waits writer
definitions_version: singleton version
machine_agent_heartbeat: agent_heartbeat_at machine_id
machine_agent_started: agent_public_key agent_started_at machine_id
machine_hardware_report: hardware_report_raw machine_id
machine_hold: machine_id reason since
machine_os_installation_report: generation machine_id os_installation_report_raw os_installation_result
machine_os_installation_request: generation machine_id os_installation_request_raw
machine_provided: machine_id provider provider_id provider_ip_address provider_location provider_reservation_id provider_status
machines: machine_created_at machine_id machine_version
operator_action: acted_at action_id details fence machine_id operator process reason session_id verb
os_installation_settled: generation machine_id os_installation_result
plan_failure: error machine_id noted_at process since workflow
process_breaker: failures_window_seconds max_due max_due_percent max_failures per process resume_after_seconds
process_breaker_state: disarmed due evaluate_after evaluated_at partition per population process
process_control: process
process_def: flapping_within_seconds lane loss_initial_seconds loss_maximum_seconds off_time_driven off_workflow process rest_initial_seconds rest_maximum_seconds time_driven workflow
process_failures: failed_at machine_id partition per process
process_limit: max_running max_starts per process window_seconds
process_pause: paused_by process provider reason since source stop_running until
process_slot: free_at kind machine_id number partition per process slot_id taken_at
schema_compatibility: oldest_compatible singleton
sessions: session_component_name session_created_at session_deadline session_id session_interval_seconds session_runtime_info
upkeep: after_machine chunks due_at failure last_chunks task
work: machine_id process session_id
work_attempt: cause ended_at fence interval_seconds last_fence machine_id outcome process repeats session_id started_at
work_backoff: cause last_interval_seconds machine_id process until
work_history: event failed_cause machine_id process session_id timestamp
work_item: backoff_until cause eligible failures fence finished_at flapping hold_reason hold_since lane last_interval_seconds losses machine_id plan_at process provider ready_at session_id slots started_at unproductive
work_poisoned: failures losses machine_id process
workflow_agent_recovery: machine_id provider ready_at
workflow_agent_start: machine_id provider ready_at";

#[tokio::test]
async fn tables_views_and_columns_keep_their_published_names() {
    let db = TestDb::new().await.unwrap();
    let names = "SELECT table_name || ': ' || string_agg(column_name, ' ' ORDER BY column_name COLLATE \"C\")
                 FROM information_schema.columns
                 WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations'
                 GROUP BY table_name ORDER BY table_name COLLATE \"C\"";
    assert_eq!(
        db.rows(names).await.unwrap(),
        NAMES.lines().collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn no_index_contains_the_deadline_that_every_heartbeat_moves() {
    let db = TestDb::new().await.unwrap();
    let indexes = "SELECT indexdef FROM pg_indexes WHERE tablename = 'sessions' ORDER BY 1";
    let all = [
        "CREATE INDEX sessions_created ON public.sessions USING btree (session_created_at)",
        "CREATE UNIQUE INDEX sessions_pkey ON public.sessions USING btree (session_id)",
    ];
    assert_eq!(db.rows(indexes).await.unwrap(), all);
}

#[tokio::test]
async fn every_heartbeat_is_a_hot_update() {
    let mut s = Scenario::new().await;
    // So many versions of one row share a page: nothing has to be pruned, which another
    // transaction's snapshot could prevent.
    for _ in 0..50 {
        let alive = session::heartbeat(&mut s.conn, &[s.session]).await;
        assert_eq!(alive.unwrap(), [s.session]);
    }
    // A server process reports its statistics at the latest when it ends.
    drop(s.conn);
    check_all_hot(&s.db, "sessions", 50).await;
}

/// So many rows of the table were updated, and all of that was HOT.
pub(crate) async fn check_all_hot(db: &TestDb, table: &str, updates: u32) {
    let counts = format!(
        "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = '{table}'"
    );
    let expected = format!("{updates}|{updates}");
    let reported = async {
        while db.rows(&counts).await.unwrap() != [expected.as_str()] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let in_time = tokio::time::timeout(MINUTE / 30, reported).await;
    assert!(in_time.is_ok(), "updates|hot: {:?}", db.rows(&counts).await);
}
