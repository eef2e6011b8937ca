//! The judge, on logs that contain each violation, and on one that contains none.

use super::{Facts, Invariant, judge};
use crate::fixture::{self, SCHEMA};
use crate::journal::{Claim, Entry, Step, Tags};
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, Process, SessionId};
use bmdb_testkit::TestDb;

mod limits;

const START: Process = Process::SHEPHERD_AGENT_START;
const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

/// 2026-01-01, in microseconds since the epoch.
const THEN: i64 = 1_767_225_600_000_000;

/// A database and a journal that agree until a test changes one of them.
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
        db.run_sql(SCHEMA).await.unwrap();
        let machine = db.machine().create().await.unwrap();
        Self {
            db,
            machine,
            session: SessionId::random(),
            journal: Vec::new(),
        }
    }

    /// Two failures, a finish with tags, an expired attempt and a canceled one.
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

    /// An attempt that is recorded and claimed, and unless it expired asked for and acknowledged.
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

    /// The tag of the machine's last finish.
    async fn tag(&self, fence: i64) {
        self.run(&format!(
            "INSERT INTO tag_log (machine_id, fence) VALUES ('$machine', {fence});
             DELETE FROM machine_agent_started;
             INSERT INTO machine_agent_started VALUES ('$machine', now(), '{fence}')"
        ))
        .await;
    }

    fn claim(&mut self, fence: i64, process: Process, start: i64) {
        self.journal.push(Entry::Claimed(Claim {
            fence: Fence::new(fence),
            machine: self.machine,
            process,
            session: self.session,
            started: THEN + start * 1_000,
        }));
    }

    fn ask(&mut self, fence: i64, outcome: Outcome, tags: Tags) {
        self.note(fence, outcome, Step::Asked(tags));
    }

    fn acknowledge(&mut self, fence: i64, outcome: Outcome, backoff: Option<(u32, i64)>) {
        self.note(fence, outcome, Step::Acknowledged(backoff));
    }

    fn note(&mut self, fence: i64, outcome: Outcome, step: Step) {
        let entry = Entry::End(Fence::new(fence), outcome, step);
        self.journal.push(entry);
    }

    /// Expects exactly these breaches, each given as its invariant and a part of its text.
    async fn expect(&self, expected: &[(Invariant, &str)]) {
        let facts = Facts::of(std::slice::from_ref(&self.journal));
        let found = judge(self.db.url(), &facts).await.unwrap().breaches;
        let lines: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{}", lines.join("\n"));
        for (invariant, text) in expected {
            assert!(
                found
                    .iter()
                    .any(|breach| breach.invariant == *invariant && breach.what.contains(text)),
                "{invariant:?} {text}:\n{}",
                lines.join("\n")
            );
        }
    }
}

#[tokio::test]
async fn a_lawful_log_has_no_violation() {
    Log::lawful().await.expect(&[]).await;
}

#[tokio::test]
async fn two_attempts_in_a_lane_at_once_are_found() {
    let mut log = Log::lawful().await;
    log.attempt(6, (RECOVERY, 3_025, 3_100, Outcome::Canceled, None))
        .await;
    // Their fences show it as well.
    log.expect(&[
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
    log.expect(&[(Invariant::Backoff, "started 1ms inside the backoff")])
        .await;
}

#[tokio::test]
async fn an_acknowledged_end_that_is_not_recorded_is_found() {
    let mut log = Log::lawful().await;
    log.run("UPDATE work_attempt SET outcome = 'Canceled' WHERE fence = 3")
        .await;
    log.expect(&[
        (Invariant::Acknowledged, "acknowledged as Finished"),
        // Its tags are still there.
        (Invariant::Acknowledged, "is recorded as Canceled"),
    ])
    .await;
    log.acknowledge(5, Outcome::Canceled, None);
    log.run("UPDATE work_attempt SET outcome = 'Finished' WHERE fence = 3")
        .await;
    log.expect(&[(Invariant::Acknowledged, "acknowledged as ended 2 times")])
        .await;
}

#[tokio::test]
async fn a_refused_end_that_is_recorded_is_found() {
    let mut log = Log::lawful().await;
    log.record(6, &(START, 7_000, 7_001, Outcome::Failed, Some(1)))
        .await;
    log.claim(6, START, 7_000);
    log.ask(6, Outcome::Failed, Tags::None);
    log.note(6, Outcome::Failed, Step::Refused);
    log.expect(&[(Invariant::Acknowledged, "fence 6")]).await;
    // An earlier end of unknown outcome may be recorded.
    log.note(6, Outcome::Failed, Step::Unknown);
    log.expect(&[]).await;
}

#[tokio::test]
async fn a_finish_that_is_half_recorded_is_found() {
    let log = Log::lawful().await;
    log.run("DELETE FROM tag_log; DELETE FROM machine_agent_started")
        .await;
    let half = "finished, and wrote tags 0 times";
    log.expect(&[(Invariant::Acknowledged, half)]).await;
    log.tag(3).await;
    log.tag(3).await;
    let twice = "finished, and wrote tags 2 times";
    log.expect(&[(Invariant::Acknowledged, twice)]).await;
}

#[tokio::test]
async fn tags_without_a_finish_and_of_another_machine_are_found() {
    let log = Log::lawful().await;
    log.tag(5).await;
    let half = "fence 5 wrote tags, and is recorded as Canceled";
    log.expect(&[(Invariant::Acknowledged, half)]).await;
    let log = Log::lawful().await;
    log.run(
        "UPDATE tag_log SET machine_id = gen_random_uuid();
         DELETE FROM machine_agent_started",
    )
    .await;
    let other = "tags of another machine";
    log.expect(&[(Invariant::Acknowledged, other)]).await;
}

#[tokio::test]
async fn a_tag_that_is_not_from_the_last_finish_is_found() {
    let log = Log::lawful().await;
    log.run("UPDATE machine_agent_started SET agent_public_key = '2'")
        .await;
    let stranger = "has the tag of fence 2, the last to write was fence 3";
    log.expect(&[(Invariant::Acknowledged, stranger)]).await;
}

#[tokio::test]
async fn an_end_that_no_worker_asked_for_is_found() {
    let mut log = Log::lawful().await;
    log.record(6, &(START, 7_000, 7_001, Outcome::Failed, Some(1)))
        .await;
    let unasked = "is recorded as Failed, which no worker asked for";
    log.expect(&[(Invariant::Acknowledged, unasked)]).await;
    // A worker may be killed after asking, but no other end may be recorded.
    log.claim(6, START, 7_000);
    log.ask(6, Outcome::Finished, Tags::None);
    log.expect(&[(Invariant::Acknowledged, unasked)]).await;
    log.ask(6, Outcome::Failed, Tags::None);
    log.expect(&[]).await;
}

#[tokio::test]
async fn intervals_that_differ_from_the_algorithm_or_the_answer_are_found() {
    let mut log = Log::new().await;
    log.attempt(1, (START, 0, 10, Outcome::Failed, Some(2)))
        .await;
    log.expect(&[(Invariant::Interval, "its policy gives 1 s")])
        .await;
    log.run("UPDATE work_attempt SET interval_seconds = 1")
        .await;
    log.expect(&[(Invariant::Interval, "was an interval of 2 s")])
        .await;
    let mut log = Log::new().await;
    log.attempt(1, (START, 0, 10, Outcome::Failed, Some(1)))
        .await;
    log.run("UPDATE work_attempt SET ended_at = ended_at - interval '1 millisecond'")
        .await;
    log.expect(&[(Invariant::Interval, "was an interval of 1 s until")])
        .await;
}

#[tokio::test]
async fn a_claim_without_an_end_with_two_or_of_another_session_is_found() {
    let mut log = Log::lawful().await;
    log.claim(6, START, 7_000);
    log.expect(&[(Invariant::OneEnd, "fence 6 was claimed, but its end is not")])
        .await;
    let mut log = Log::lawful().await;
    log.claim(5, START, 6_000);
    log.expect(&[(Invariant::OneEnd, "fence 5 was claimed 2 times")])
        .await;
    let mut log = Log::lawful().await;
    log.acknowledge(9, Outcome::Canceled, None);
    log.expect(&[(Invariant::OneEnd, "no claim was noted")])
        .await;
    let log = Log::lawful().await;
    log.run("UPDATE work_attempt SET session_id = gen_random_uuid() WHERE fence = 3")
        .await;
    log.expect(&[(Invariant::OneEnd, "fence 3 (ShepherdAgentStart")])
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
    log.expect(&fences).await;
}

#[tokio::test]
async fn a_machine_that_stays_claimed_by_a_dead_session_is_found() {
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
    log.expect(&[
        (Invariant::DeadHolder, "is still claimed by session"),
        (
            Invariant::DeadHolder,
            "(worker 1) is still there, with 1 machines",
        ),
    ])
    .await;
}

#[tokio::test]
async fn a_foreign_tag_and_a_stale_plan_are_found() {
    let db = TestDb::new().await.unwrap();
    fixture::make(&db, 12).await.unwrap();
    let facts = Facts::default();
    let found = judge(db.admin_url(), &facts).await.unwrap().breaches;
    assert_eq!(found, []);
    let bare = "SELECT machine_id FROM machines
                WHERE machine_id NOT IN (SELECT machine_id FROM machine_agent_started) LIMIT 2";
    let [foreign, stale] = <[String; 2]>::try_from(db.rows(bare).await.unwrap()).unwrap();
    db.run_sql(&format!(
        "INSERT INTO machine_agent_started VALUES ('{foreign}', now(), '7');
         INSERT INTO tag_log (machine_id, fence) VALUES ('{foreign}', 8);
         INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at,
                                   ended_at, outcome)
         VALUES ('{foreign}', 8, 8, 'ShepherdAccess', gen_random_uuid(), now(), now(), 'Canceled');
         UPDATE work_item SET eligible = false, plan_at = NULL WHERE machine_id = '{stale}'"
    ))
    .await
    .unwrap();
    let found = judge(db.admin_url(), &facts).await.unwrap().breaches;
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    for expected in [
        "fence 8 wrote tags, and is recorded as Canceled".to_owned(),
        format!("machine {foreign} has the tag of fence 7, the last to write was fence 8"),
        format!("the plan of machine {stale} for ShepherdAgentStart is stale: eligible false"),
        format!("the plan of machine {foreign} for ShepherdRecovery is stale: eligible never"),
    ] {
        assert!(
            found.iter().any(|breach| breach.contains(&expected)),
            "{expected}\n{}",
            found.join("\n")
        );
    }
}

#[tokio::test]
async fn a_recovery_of_a_machine_whose_agent_had_sent_a_heartbeat_is_found() {
    let mut log = Log::lawful().await;
    log.attempt(6, (RECOVERY, 7_000, 7_001, Outcome::Canceled, None))
        .await;
    log.run(
        "INSERT INTO start_log VALUES ('ShepherdRecovery', '$machine', 6,
             timestamptz '2026-01-01 00:00:07 UTC', timestamptz '2026-01-01 00:00:07 UTC');
         INSERT INTO heartbeat_log VALUES ('$machine', timestamptz '2026-01-01 00:00:06.5 UTC',
                                           timestamptz '2026-01-01 00:00:06.6 UTC')",
    )
    .await;
    log.expect(&[(Invariant::Plan, "although its agent had sent a heartbeat")])
        .await;
}
