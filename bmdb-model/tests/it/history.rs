//! The history of attempts: one row for each, or one for a streak of equal failures.

use crate::scenario::{ACCESS, START, Scenario, failed};
use bmdb_model::history::{self, Event, Outcome, Retention};
use bmdb_model::internal::history::Trimmed;
use bmdb_model::internal::work::{self, Attempt, AttemptState, FailedAttempt};
use bmdb_model::work::RestCause;
use bmdb_model::{MachineId, Process, internal};

/// The rows of the log, with fences counted from the first one.
const ATTEMPTS: &str = "
    SELECT fence - min(fence) OVER () + 1, last_fence - min(fence) OVER () + 1, outcome, cause,
           interval_seconds, repeats
    FROM work_attempt ORDER BY fence";

impl Scenario {
    /// So many attempts of a machine, which have just ended.
    async fn recorded(&self, machine: MachineId, rows: u32) {
        let insert = format!(
            "INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                                       started_at, ended_at, outcome)
             SELECT '{machine}', f, f, '{START}', gen_random_uuid(),
                    clock_timestamp(), clock_timestamp(), 'Finished'
             FROM (SELECT nextval('work_fence') AS f FROM generate_series(1, {rows})) fences"
        );
        self.db.run_sql(&insert).await.unwrap();
    }

    /// Claims and fails, and lets the backoff pass.
    async fn failure(&mut self, seconds: u32, cause: &str) -> Attempt {
        let attempt = self.claim_one(&START).await;
        self.fail(&attempt, seconds, cause).await;
        self.advance(u64::from(seconds) + 1).await;
        attempt
    }

    async fn fate(&mut self, attempt: &Attempt) -> AttemptState {
        work::attempt_state(&mut self.conn, attempt).await.unwrap()
    }

    /// The history of a machine, without its times.
    async fn events(&mut self, machine: MachineId) -> Vec<(String, Event, Option<String>)> {
        let events = history::of(&mut self.conn, machine).await.unwrap();
        assert!(events.is_sorted_by_key(|event| event.timestamp));
        assert!(events.iter().all(|event| event.machine_id == machine));
        assert!(events.iter().all(|event| event.session_id == self.session));
        let tell = |e: history::HistoryEvent| (e.process.to_string(), e.event, e.failed_cause);
        events.into_iter().map(tell).collect()
    }
}

#[tokio::test]
async fn equal_failures_fold_into_the_row_of_the_first() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    for _ in 0..4 {
        s.failure(5, "no answer").await;
    }
    assert_eq!(s.rows(ATTEMPTS).await, ["1|4|Failed|no answer|5|3"]);
}

#[tokio::test]
async fn a_folded_row_spans_from_the_first_start_to_the_last_end() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let first = s.failure(5, "no answer").await;
    s.session = s.another_session().await;
    let last = s.failure(5, "no answer").await;
    // Both have moved since: the first by two backoffs, the last by one.
    let span = format!(
        "SELECT started_at = '{}'::timestamptz - interval '12 s',
                ended_at BETWEEN '{}'::timestamptz - interval '6 s' AND clock_timestamp() - interval '6 s',
                session_id FROM work_attempt",
        first.started_at, last.started_at
    );
    assert_eq!(s.rows(&span).await, [format!("t|t|{}", last.session)]);
}

#[tokio::test]
async fn a_different_cause_interval_or_outcome_starts_a_new_row() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    s.failure(4, "no answer").await;
    s.failure(5, "no answer").await;
    s.failure(5, "no answer").await;
    s.failure(5, "wrong password").await;
    let attempt = s.claim_one(&START).await;
    s.cancel(&attempt).await;
    s.failure(5, "wrong password").await;
    assert_eq!(
        s.rows(ATTEMPTS).await,
        [
            "1|1|Failed|no answer|4|0",
            "2|3|Failed|no answer|5|1",
            "4|4|Failed|wrong password|5|0",
            "5|5|Canceled|||0",
            "6|6|Failed|wrong password|5|0",
        ]
    );
}

#[tokio::test]
async fn failures_of_different_processes_are_not_folded_into_one_row() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.failure(5, "no answer").await;
    let attempt = s.claim_machine(machine, &ACCESS).await;
    s.fail(&attempt, 5, "no answer").await;
    s.failure(5, "no answer").await;
    let rows = "SELECT process, repeats FROM work_attempt ORDER BY process";
    assert_eq!(
        s.rows(rows).await,
        ["ShepherdAccess|0", "ShepherdAgentStart|1"]
    );
}

#[tokio::test]
async fn without_folding_every_attempt_has_its_row() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    for _ in 0..3 {
        let attempt = s.claim_one(&START).await;
        let full = FailedAttempt {
            fold: false,
            ..failed(5, "no answer")
        };
        work::fail(&mut s.conn, &attempt, &full).await.unwrap();
        s.advance(6).await;
    }
    let row = |n| format!("{n}|{n}|Failed|no answer|5|0");
    assert_eq!(s.rows(ATTEMPTS).await, [row(1), row(2), row(3)]);
}

#[tokio::test]
async fn the_state_of_every_attempt_of_a_folded_streak_is_known() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let mut attempts = Vec::new();
    for _ in 0..3 {
        attempts.push(s.failure(5, "no answer").await);
    }
    let held = s.claim_one(&START).await;
    for attempt in &attempts {
        let fate = s.fate(attempt).await;
        assert!(
            matches!(fate, AttemptState::Ended(Outcome::Failed, Some(_))),
            "{fate:?}"
        );
    }
    assert_eq!(s.fate(&held).await, AttemptState::Claimed);
    s.finish(&held).await;
    let fate = s.fate(&held).await;
    let AttemptState::Ended(Outcome::Finished, Some(rest)) = fate else {
        panic!("{fate:?}");
    };
    assert_eq!(rest.cause, Some(RestCause::Unproductive(1)));
}

#[tokio::test]
async fn the_state_of_an_attempt_without_a_record_is_unknown() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let attempt = s.failure(5, "no answer").await;
    let others = Attempt {
        process: ACCESS,
        ..attempt.clone()
    };
    assert_eq!(s.fate(&others).await, AttemptState::Unknown);
    s.db.run_sql("DELETE FROM work_attempt").await.unwrap();
    assert_eq!(s.fate(&attempt).await, AttemptState::Unknown);
}

#[tokio::test]
async fn a_history_has_every_start_and_its_end() {
    let mut s = Scenario::new().await;
    let (machine, other) = (
        s.provided("a").await,
        s.db.machine().create().await.unwrap(),
    );
    s.failure(5, "no answer").await;
    let attempt = s.claim_one(&START).await;
    s.cancel(&attempt).await;
    let attempt = s.claim_one(&START).await;
    s.finish(&attempt).await;
    s.claim_machine(machine, &ACCESS).await;

    let start = |event, cause: Option<&str>| (START.to_string(), event, cause.map(str::to_owned));
    assert_eq!(
        s.events(machine).await,
        [
            start(Event::Started, None),
            start(Event::Failed, Some("no answer")),
            start(Event::Started, None),
            start(Event::Canceled, None),
            start(Event::Started, None),
            start(Event::Finished, None),
            // Claimed work has started and has not ended.
            (ACCESS.to_string(), Event::Started, None),
        ]
    );
    assert_eq!(s.events(other).await, []);
}

#[tokio::test]
async fn a_folded_streak_shows_its_first_start_and_its_last_end() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    for _ in 0..3 {
        s.failure(5, "no answer").await;
    }
    let start = |event, cause: Option<&str>| (START.to_string(), event, cause.map(str::to_owned));
    let expected = [
        start(Event::Started, None),
        start(Event::Failed, Some("no answer")),
    ];
    assert_eq!(s.events(machine).await, expected);
}

fn retention(attempts_per_machine: u32, seconds: u32) -> Retention {
    Retention {
        attempts_per_machine,
        seconds,
    }
}

#[tokio::test]
async fn attempts_that_are_too_old_or_too_many_are_trimmed_by_their_end() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    // The first row belongs to a streak that is still growing: its fence is old, its end is not.
    for cause in ["b", "c", "d"] {
        s.failure(5, cause).await;
    }
    s.db.run_sql("UPDATE work_attempt SET ended_at = clock_timestamp() WHERE cause = 'b'")
        .await
        .unwrap();
    let causes = "SELECT cause FROM work_attempt ORDER BY cause";
    for (keep, deleted, left) in [
        (retention(3, 3600), 0, vec!["b", "c", "d"]),
        (retention(2, 3600), 1, vec!["b", "d"]),
        // The third ended six seconds ago.
        (retention(2, 3), 1, vec!["b"]),
        (retention(0, 3600), 1, vec![]),
    ] {
        let surplus = internal::history::surplus(&mut s.conn, keep, None, None).await;
        assert_eq!(surplus.unwrap(), deleted, "{keep:?}");
        let trimmed = internal::history::trim(&mut s.conn, keep, None, 10)
            .await
            .unwrap();
        let expected = Trimmed {
            rows: deleted,
            after: Some(machine),
            over: true,
        };
        assert_eq!(trimmed, expected, "{keep:?}");
        assert_eq!(s.rows(causes).await, left, "{keep:?}");
    }
}

#[tokio::test]
async fn history_is_trimmed_machine_by_machine() {
    let mut s = Scenario::new().await;
    let mut machines = [s.provided("a").await, s.provided("b").await];
    machines.sort();
    for attempt in s.claim(&START).await {
        s.fail(&attempt, 5, "no answer").await;
    }
    let mut after = None;
    for expected in [Some(machines[0]), Some(machines[1]), None] {
        let trimmed = internal::history::trim(&mut s.conn, retention(0, 3600), after, 1)
            .await
            .unwrap();
        let expected = Trimmed {
            rows: u64::from(expected.is_some()),
            after: expected,
            over: expected.is_none(),
        };
        assert_eq!(trimmed, expected);
        after = trimmed.after;
    }
}

// Regression: all rows of a machine were deleted at once, however many there were.
#[tokio::test]
async fn a_machine_with_a_long_history_is_trimmed_in_bounded_batches() {
    let mut s = Scenario::new().await;
    let mut machines = [MachineId::random(), MachineId::random()];
    machines.sort();
    for (machine, rows) in machines.into_iter().zip([25, 3]) {
        s.recorded(machine, rows).await;
    }
    let keep = retention(2, 3600);
    let (mut after, mut batches) = (None, Vec::new());
    loop {
        let surplus = internal::history::surplus(&mut s.conn, keep, after, Some(10)).await;
        let trimmed = internal::history::trim(&mut s.conn, keep, after, 10)
            .await
            .unwrap();
        assert_eq!(surplus.unwrap(), trimmed.rows);
        batches.push((trimmed.rows, trimmed.after));
        if trimmed.over {
            break;
        }
        after = trimmed.after;
    }
    let first = Some(machines[0]);
    // While a machine has more rows, no other machine follows.
    assert_eq!(batches[..2], [(10, None), (10, None)]);
    assert_eq!(batches[2..], [(4, Some(machines[1]))]);
    assert_ne!(first, batches[2].1);
    let left = "SELECT count(*) FROM work_attempt GROUP BY machine_id";
    assert_eq!(s.rows(left).await, ["2", "2"]);
}

#[tokio::test]
async fn the_last_failures_of_processes_are_found_behind_later_attempts_of_others() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let seed = format!(
        "INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at,
                                   ended_at, outcome, cause, interval_seconds)
         SELECT '{machine}', n, n, process, gen_random_uuid(), now(), now(), outcome, 'no answer', n
         FROM generate_series(1, 1100) n, LATERAL (SELECT
             CASE WHEN n > 300 THEN 'Sweep' WHEN n % 2 = 0 THEN 'Paint' ELSE 'Polish' END,
             CASE WHEN n % 3 = 0 THEN 'Finished' ELSE 'Failed' END) s (process, outcome)"
    );
    s.db.run_sql(&seed).await.unwrap();
    let (paint, polish) = (
        Process::new("Paint").unwrap(),
        Process::new("Polish").unwrap(),
    );
    let mut fences = async |processes: &[&Process], limit| {
        let found = history::last_failures(&mut s.conn, machine, processes, limit).await;
        let fences = found.unwrap().into_iter().map(|failed| failed.fence.get());
        fences.collect::<Vec<i64>>()
    };
    assert_eq!(fences(&[&paint], 3).await, [292, 296, 298]);
    assert_eq!(fences(&[&paint, &polish], 2).await, [295, 296, 298, 299]);
    // Of the last thousand.
    assert_eq!(fences(&[&paint], 1000).await[0], 104);
    assert!(fences(&[], 1000).await.is_empty());
}
