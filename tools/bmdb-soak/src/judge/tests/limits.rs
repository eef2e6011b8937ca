//! The judge of limits, slots, pauses, lanes that change, and times in which nobody listened.

use super::{Log, RECOVERY, START};
use crate::judge::Invariant;
use bmdb_model::history::Outcome;

/// A limit that was in force before the attempts.
async fn limit(log: &Log, values: &str) {
    log.run(&format!(
        "DELETE FROM process_limit;
         INSERT INTO process_control VALUES ('ShepherdAgentStart') ON CONFLICT DO NOTHING;
         INSERT INTO process_limit VALUES ('ShepherdAgentStart', {values});
         UPDATE limit_log SET since = '2025-12-31 UTC' WHERE process = 'ShepherdAgentStart'"
    ))
    .await;
}

/// Attempts from a start to an end in milliseconds, each on a machine of its own without a provider.
async fn attempts(log: &mut Log, spans: &[(i64, i64)]) {
    for (fence, (start, end)) in (1..).zip(spans) {
        log.machine = log.db.machine().create().await.unwrap();
        log.attempt(fence, (START, *start, *end, Outcome::Canceled, None))
            .await;
    }
}

#[tokio::test]
async fn more_at_once_than_a_limit_allows_is_found() {
    let mut log = Log::new().await;
    attempts(&mut log, &[(0, 30), (10, 20), (20, 40), (25, 26)]).await;
    limit(&log, "'process', 3, NULL, NULL").await;
    log.expect(&[]).await;
    limit(&log, "'process', 2, NULL, NULL").await;
    let third = "with the start of fence 4 3 ran at once, more than 2";
    log.expect(&[(Invariant::Limit, third)]).await;
}

#[tokio::test]
async fn a_limit_per_provider_counts_each_provider_alone() {
    let mut log = Log::new().await;
    attempts(&mut log, &[(0, 30), (10, 30), (20, 30)]).await;
    log.run(
        "INSERT INTO machine_provided (machine_id, provider, provider_id)
         SELECT machine_id, CASE fence WHEN 2 THEN 'Lumen' ELSE 'Equinix' END, fence::text
         FROM work_attempt;
         INSERT INTO machine_hold (machine_id, reason) SELECT machine_id, 'not planned' FROM machines",
    )
    .await;
    limit(&log, "'provider', 2, NULL, NULL").await;
    log.expect(&[]).await;
    limit(&log, "'provider', 1, NULL, NULL").await;
    let equinix = "per provider \"Equinix\": with the start of fence 3 2 ran at once, more than 1";
    log.expect(&[(Invariant::Limit, equinix)]).await;
}

#[tokio::test]
async fn more_starts_within_a_window_than_a_limit_allows_are_found() {
    let mut log = Log::new().await;
    attempts(
        &mut log,
        &[(0, 1), (500, 501), (999, 1_000), (1_499, 1_500)],
    )
    .await;
    limit(&log, "'process', NULL, 3, 1").await;
    log.expect(&[]).await;
    limit(&log, "'process', NULL, 2, 1").await;
    log.expect(&[
        (Invariant::Limit, "fence 3 3 started within the window"),
        (Invariant::Limit, "fence 4 3 started within the window"),
    ])
    .await;
}

#[tokio::test]
async fn a_lowered_limit_holds_from_its_change_on() {
    let mut log = Log::new().await;
    attempts(&mut log, &[(0, 30), (5, 30), (20, 22)]).await;
    limit(&log, "'process', 3, NULL, NULL").await;
    log.run(
        "UPDATE process_limit SET max_running = 1 WHERE process = 'ShepherdAgentStart';
         UPDATE limit_log SET since = timestamptz '2026-01-01 UTC' + interval '10 milliseconds'
         WHERE max_running = 1",
    )
    .await;
    log.expect(&[(Invariant::Limit, "fence 3 3 ran at once, more than 1")])
        .await;
}

#[tokio::test]
async fn slots_that_are_taken_by_nothing_are_found() {
    let mut log = Log::lawful().await;
    limit(&log, "'process', 1, NULL, NULL").await;
    log.run(
        "INSERT INTO process_slot (process, per, partition, kind, number, machine_id, free_at)
         VALUES ('ShepherdAgentStart', 'process', '', 'Running', 1, '$machine', 'infinity')",
    )
    .await;
    let leaked = "slot 1 of ShepherdAgentStart per process '' is taken by machine";
    log.expect(&[(Invariant::Slot, leaked)]).await;
    // And a machine that is claimed without the slot that it names.
    log.claim(6, START, 7_000);
    log.run(
        "UPDATE process_slot SET free_at = '-infinity';
         INSERT INTO sessions (session_id, session_component_name, session_runtime_info,
                               session_interval_seconds, session_deadline)
         VALUES ('$session', 'soak', 'worker 1', 1, now());
         ALTER TABLE work_item DISABLE TRIGGER USER;
         INSERT INTO work_item (machine_id, process, lane, eligible, session_id, fence, started_at, slots)
         SELECT '$machine', 'ShepherdAgentStart', 'shepherd', false, '$session', 6,
                timestamptz '2026-01-01 UTC' + interval '7 seconds', ARRAY[slot_id]
         FROM process_slot",
    )
    .await;
    log.expect(&[
        (Invariant::Slot, "of which 0 are taken by it"),
        (Invariant::DeadHolder, "is still claimed by session"),
        (Invariant::DeadHolder, "(worker 1) is still there"),
    ])
    .await;
}

#[tokio::test]
async fn a_start_inside_a_pause_is_found() {
    let log = Log::lawful().await;
    let start = |began: &str, started: &str| {
        format!(
            "DELETE FROM start_log;
             INSERT INTO start_log VALUES ('ShepherdAgentStart', '$machine', 5,
                 timestamptz '2026-01-01 UTC' + interval '{began}',
                 timestamptz '2026-01-01 UTC' + interval '{started}')"
        )
    };
    log.run(
        "INSERT INTO pause_log VALUES ('ShepherdAgentStart', '', timestamptz '2026-01-01 00:00:06 UTC',
                                       timestamptz '2026-01-01 00:00:08 UTC')",
    )
    .await;
    // Its statement was under way.
    log.run(&start("5.9 seconds", "6.1 seconds")).await;
    log.expect(&[]).await;
    log.run(&start("8.1 seconds", "8.2 seconds")).await;
    log.expect(&[]).await;
    log.run(&start("6.1 seconds", "6.2 seconds")).await;
    log.expect(&[(Invariant::Pause, "after the process was paused")])
        .await;
    // The machine is not of that provider.
    log.run("UPDATE pause_log SET provider = 'Lumen'").await;
    log.expect(&[]).await;
}

#[tokio::test]
async fn two_attempts_in_a_lane_that_one_has_left_since_are_found() {
    let log = Log::lawful().await;
    log.record(
        6,
        &(
            "SoakCheck".parse().unwrap(),
            3_025,
            3_100,
            Outcome::Canceled,
            None,
        ),
    )
    .await;
    log.run(
        "INSERT INTO lane_log (process, lane, since) VALUES
             ('SoakCheck', 'SoakCheck', '2026-01-01 UTC'),
             ('SoakCheck', 'shepherd', '2026-01-01 00:00:02 UTC'),
             ('SoakCheck', 'SoakCheck', '2026-01-01 00:00:04 UTC')",
    )
    .await;
    let both =
        "SoakCheck fence 6 and ShepherdAgentStart fence 3 ran at once, both in lane shepherd";
    log.expect(&[(Invariant::Lane, both)]).await;
    log.run("UPDATE lane_log SET since = '2026-01-01 00:00:03.5 UTC' WHERE lane = 'shepherd'")
        .await;
    log.expect(&[]).await;
}

#[tokio::test]
async fn a_recovery_while_nobody_had_listened_is_found() {
    let mut log = Log::lawful().await;
    log.attempt(6, (RECOVERY, 7_000, 7_001, Outcome::Canceled, None))
        .await;
    log.run(
        "INSERT INTO start_log VALUES ('ShepherdRecovery', '$machine', 6,
             timestamptz '2026-01-01 00:00:07 UTC', timestamptz '2026-01-01 00:00:07 UTC');
         INSERT INTO unheard_log VALUES
             (timestamptz '2026-01-01 00:00:06 UTC', timestamptz '2026-01-01 00:00:06.2 UTC')",
    )
    .await;
    log.expect(&[]).await;
    log.run("UPDATE unheard_log SET over_at = '2026-01-01 00:00:06.5 UTC'")
        .await;
    let unheard = "after nobody had listened for eleven minutes";
    log.expect(&[(Invariant::Unheard, unheard)]).await;
}
