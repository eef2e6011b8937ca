//! The checker, on logs that contain each violation, and on one that contains none.

use super::{Facts, Invariant, check};
use crate::soak::fixture::{self, SCENE};
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, Process, SessionId};
use bmdb_testkit::TestDb;
use bmdb_testkit::journal::{Entry, Tags};
use uuid::Uuid;

const START: Process = Process::SHEPHERD_AGENT_START;
const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

/// 2026-01-01, in microseconds since the epoch.
const THEN: i64 = 1_767_225_600_000_000;

/// A database and a journal that agree, and that a test brings to disagree.
struct Log {
    db: TestDb,
    machine: MachineId,
    session: SessionId,
    journal: Vec<Entry>,
}

/// An attempt: which process, from when to when in milliseconds, its end, and its interval.
type Row = (Process, i64, i64, Outcome, Option<u32>);

impl Log {
    async fn new() -> Self {
        let db = TestDb::new().await.unwrap();
        db.run_sql(SCENE).await.unwrap();
        let machine = db.machine().create().await.unwrap();
        Self {
            db,
            machine,
            session: Uuid::new_v4().to_string().parse().unwrap(),
            journal: Vec::new(),
        }
    }

    /// Two failures, a finish with tags and one of another lane without, a loss, and work given back.
    async fn lawful() -> Self {
        let mut log = Self::new().await;
        log.attempt(1, (START, 0, 10, Outcome::Failed, Some(1)))
            .await;
        log.attempt(2, (START, 1_010, 1_020, Outcome::Failed, Some(2)))
            .await;
        log.attempt(3, (START, 3_020, 3_030, Outcome::Finished, None))
            .await;
        log.tag(3).await;
        log.attempt(4, (START, 4_000, 4_500, Outcome::Expired, Some(1)))
            .await;
        log.attempt(5, (START, 6_000, 6_001, Outcome::Canceled, None))
            .await;
        log
    }

    async fn run(&self, sql: &str) {
        let sql = sql.replace("$machine", &self.machine.to_string());
        let sql = sql.replace("$session", &self.session.to_string());
        self.db.run_sql(&sql).await.unwrap();
    }

    /// Recorded, claimed, and, if it is an end that a worker makes, asked for and acknowledged.
    async fn attempt(&mut self, fence: i64, row: Row) {
        self.record(fence, &row).await;
        let (process, start, end, outcome, interval) = row;
        self.claim(fence, process, start);
        if outcome == Outcome::Expired {
            return;
        }
        let tags = match outcome {
            Outcome::Finished => Tags::Written,
            _ => Tags::None,
        };
        self.ask(fence, outcome, tags);
        let backoff = interval.map(|interval| {
            let until = THEN + end * 1_000 + i64::from(interval) * 1_000_000;
            (interval, until)
        });
        self.acknowledge(fence, outcome, backoff);
    }

    async fn record(&self, fence: i64, row: &Row) {
        let (process, start, end, outcome, interval) = row;
        let interval = interval.map_or_else(|| "NULL".to_owned(), |i| i.to_string());
        self.run(&format!(
            "INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                                       started_at, ended_at, outcome, interval_seconds)
             VALUES ('$machine', {fence}, {fence}, '{process}', '$session',
                     timestamptz '2026-01-01 UTC' + {start} * interval '1 millisecond',
                     timestamptz '2026-01-01 UTC' + {end} * interval '1 millisecond',
                     '{outcome}', {interval})"
        ))
        .await;
    }

    /// As the last finish leaves it.
    async fn tag(&self, fence: i64) {
        self.run(&format!(
            "INSERT INTO soak_tag (machine_id, fence) VALUES ('$machine', {fence});
             DELETE FROM machine_agent_started;
             INSERT INTO machine_agent_started VALUES ('$machine', now(), '{fence}')"
        ))
        .await;
    }

    fn claim(&mut self, fence: i64, process: Process, start: i64) {
        self.journal.push(Entry::Claimed {
            fence: Fence::new(fence),
            machine: self.machine,
            process,
            session: self.session,
            started: THEN + start * 1_000,
        });
    }

    fn ask(&mut self, fence: i64, outcome: Outcome, tags: Tags) {
        let fence = Fence::new(fence);
        self.journal.push(Entry::Asked {
            fence,
            outcome,
            tags,
        });
    }

    fn acknowledge(&mut self, fence: i64, outcome: Outcome, backoff: Option<(u32, i64)>) {
        let fence = Fence::new(fence);
        self.journal.push(Entry::Acknowledged {
            fence,
            outcome,
            backoff,
        });
    }

    /// The breaches, each as its invariant and what is expected in its words.
    async fn check(&self, expected: &[(Invariant, &str)]) {
        let facts = Facts::of(std::slice::from_ref(&self.journal));
        let verdict = check(self.db.url(), &facts, fixture::policy())
            .await
            .unwrap();
        let found = verdict.breaches;
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{}", lines.join("\n"));
        for (invariant, words) in expected {
            assert!(
                found
                    .iter()
                    .any(|breach| breach.invariant == *invariant && breach.what.contains(words)),
                "{invariant:?} {words}:\n{}",
                lines.join("\n")
            );
        }
    }
}

#[tokio::test]
async fn a_lawful_log_has_no_violation() {
    Log::lawful().await.check(&[]).await;
}

#[tokio::test]
async fn two_holders_of_a_lane_are_found() {
    let mut log = Log::lawful().await;
    log.attempt(6, (RECOVERY, 3_025, 3_100, Outcome::Canceled, None))
        .await;
    // Their numbers tell as well that they ran at once.
    log.check(&[
        (Invariant::Lane, "started 5ms before fence 3"),
        (Invariant::Lane, "has a smaller number"),
    ])
    .await;
}

#[tokio::test]
async fn a_start_inside_a_backoff_is_found() {
    let mut log = Log::new().await;
    log.attempt(1, (START, 0, 10, Outcome::Failed, Some(1)))
        .await;
    log.attempt(2, (START, 1_009, 1_020, Outcome::Canceled, None))
        .await;
    log.check(&[(Invariant::Backoff, "started 1ms inside the backoff")])
        .await;
}

#[tokio::test]
async fn an_acknowledged_end_that_is_not_recorded_is_found() {
    let mut log = Log::lawful().await;
    log.run("UPDATE work_attempt SET outcome = 'Canceled' WHERE fence = 3")
        .await;
    log.check(&[
        (Invariant::Acknowledged, "acknowledged as Finished"),
        // Half there: its tags are.
        (Invariant::Acknowledged, "is recorded as Canceled"),
    ])
    .await;
    log.acknowledge(5, Outcome::Canceled, None);
    log.run("UPDATE work_attempt SET outcome = 'Finished' WHERE fence = 3")
        .await;
    log.check(&[(Invariant::Acknowledged, "acknowledged as ended 2 times")])
        .await;
}

#[tokio::test]
async fn a_refused_end_that_is_recorded_is_found() {
    let mut log = Log::lawful().await;
    log.record(6, &(START, 7_000, 7_001, Outcome::Failed, Some(1)))
        .await;
    log.claim(6, START, 7_000);
    log.ask(6, Outcome::Failed, Tags::None);
    let (fence, outcome) = (Fence::new(6), Outcome::Failed);
    log.journal.push(Entry::Refused { fence, outcome });
    log.check(&[(Invariant::Acknowledged, "fence 6")]).await;
    // Not if one before it was of unknown outcome.
    log.journal.push(Entry::Unknown { fence, outcome });
    log.check(&[]).await;
}

#[tokio::test]
async fn a_finish_of_which_half_is_there_is_found() {
    let log = Log::lawful().await;
    log.run("DELETE FROM soak_tag; DELETE FROM machine_agent_started")
        .await;
    let half = "has finished, and has written tags 0 times";
    log.check(&[(Invariant::Acknowledged, half)]).await;
    log.tag(3).await;
    log.tag(3).await;
    let twice = "has finished, and has written tags 2 times";
    log.check(&[(Invariant::Acknowledged, twice)]).await;
}

#[tokio::test]
async fn tags_without_a_finish_and_of_another_machine_are_found() {
    let log = Log::lawful().await;
    log.tag(5).await;
    let half = "fence 5 has written tags, and is recorded as Canceled";
    log.check(&[(Invariant::Acknowledged, half)]).await;
    let log = Log::lawful().await;
    log.run(
        "UPDATE soak_tag SET machine_id = gen_random_uuid();
         DELETE FROM machine_agent_started",
    )
    .await;
    let other = "tags of another machine";
    log.check(&[(Invariant::Acknowledged, other)]).await;
}

#[tokio::test]
async fn a_tag_that_was_not_the_last_to_be_written_is_found() {
    let log = Log::lawful().await;
    log.run("UPDATE machine_agent_started SET agent_public_key = '2'")
        .await;
    let stranger = "has the tag of fence 2, the last to write was fence 3";
    log.check(&[(Invariant::Acknowledged, stranger)]).await;
}

#[tokio::test]
async fn an_end_that_nobody_has_asked_for_is_found() {
    let mut log = Log::lawful().await;
    log.record(6, &(START, 7_000, 7_001, Outcome::Failed, Some(1)))
        .await;
    let unasked = "is recorded as Failed, which nobody has asked for";
    log.check(&[(Invariant::Acknowledged, unasked)]).await;
    // It is lawful to be killed after asking, but not to be recorded as something else.
    log.claim(6, START, 7_000);
    log.ask(6, Outcome::Finished, Tags::None);
    log.check(&[(Invariant::Acknowledged, unasked)]).await;
    log.ask(6, Outcome::Failed, Tags::None);
    log.check(&[]).await;
}

#[tokio::test]
async fn intervals_other_than_the_algorithms_and_other_than_told_are_found() {
    let mut log = Log::new().await;
    log.attempt(1, (START, 0, 10, Outcome::Failed, Some(2)))
        .await;
    log.check(&[(Invariant::Interval, "its policy gives 1 s")])
        .await;
    log.run("UPDATE work_attempt SET interval_seconds = 1")
        .await;
    log.check(&[(Invariant::Interval, "was told to rest for 2 s")])
        .await;
    let mut log = Log::new().await;
    log.attempt(1, (START, 0, 10, Outcome::Failed, Some(1)))
        .await;
    log.run("UPDATE work_attempt SET ended_at = ended_at - interval '1 millisecond'")
        .await;
    log.check(&[(Invariant::Interval, "was told to rest for 1 s until")])
        .await;
}

#[tokio::test]
async fn a_claim_without_an_end_with_two_or_of_somebody_else_is_found() {
    let mut log = Log::lawful().await;
    log.claim(6, START, 7_000);
    log.check(&[(Invariant::OneEnd, "fence 6 was claimed, but its end is not")])
        .await;
    let mut log = Log::lawful().await;
    log.claim(5, START, 6_000);
    log.check(&[(Invariant::OneEnd, "fence 5 was claimed 2 times")])
        .await;
    let mut log = Log::lawful().await;
    log.acknowledge(9, Outcome::Canceled, None);
    log.check(&[(Invariant::OneEnd, "no claim of it was noted")])
        .await;
    let log = Log::lawful().await;
    log.run("UPDATE work_attempt SET session_id = gen_random_uuid() WHERE fence = 3")
        .await;
    log.check(&[(Invariant::OneEnd, "fence 3 (ShepherdAgentStart")])
        .await;
    let log = Log::lawful().await;
    log.run(
        "UPDATE work_attempt SET started_at = started_at + interval '1 microsecond'
         WHERE fence IN (3, 5)",
    )
    .await;
    let fences = [
        (Invariant::OneEnd, "fence 3 (ShepherdAgentStart"),
        (Invariant::OneEnd, "fence 5 (ShepherdAgentStart"),
    ];
    log.check(&fences).await;
}

#[tokio::test]
async fn a_machine_that_a_dead_holder_has_locked_is_found() {
    let mut log = Log::lawful().await;
    log.claim(6, START, 7_000);
    log.run(
        "INSERT INTO sessions (session_id, session_component_name, session_runtime_info,
                               session_interval_seconds, session_deadline)
         VALUES ('$session', 'soak', 'worker 1', 1, now() - interval '1 minute');
         INSERT INTO work_item (machine_id, process, lane, eligible, session_id, fence, started_at)
         VALUES ('$machine', 'ShepherdAgentStart', 'shepherd', false, '$session', 6,
                 timestamptz '2026-01-01 UTC' + interval '7 seconds')",
    )
    .await;
    log.check(&[
        (Invariant::DeadHolder, "is still held by session"),
        (
            Invariant::DeadHolder,
            "(worker 1) is still there, with 1 machines",
        ),
    ])
    .await;
}
