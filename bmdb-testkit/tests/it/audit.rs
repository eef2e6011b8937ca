//! The audit, on logs with each violation, and on similar logs without one.

use crate::Result;
use bmdb_backoff::{Backoff, Factor, Jitter, Seconds};
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, Process};
use bmdb_testkit::TestDb;
use bmdb_testkit::audit::{Audit, AuditError, Held, Rules, Violation, audit};
use std::time::Duration;

/// 1, 2, 4, 5, 5, …
const RETRY: Backoff = Backoff::exponential(
    Seconds::new(1).unwrap(),
    Seconds::new(5).unwrap(),
    Factor::from_int(2),
);

const START: &str = "ShepherdAgentStart";
const RECOVERY: &str = "ShepherdRecovery";

/// A log: one machine's attempts, written as (process, fence, start, end, outcome, interval).
struct Log {
    db: TestDb,
    machine: MachineId,
}

type Row<'a> = (&'a str, i64, f64, f64, &'a str, Option<u32>);

impl Log {
    async fn of(rows: &[Row<'_>]) -> Result<Self> {
        let db = TestDb::new().await?;
        let machine = db.machine().create().await?;
        for (process, fence, start, end, outcome, interval) in rows {
            let interval = interval.map_or_else(|| "NULL".to_owned(), |i| i.to_string());
            db.run_sql(&format!(
                "INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id,
                                           started_at, ended_at, outcome, interval_seconds)
                 VALUES ('{machine}', {fence}, {fence}, '{process}', gen_random_uuid(),
                         timestamptz '2026-01-01' + {start} * interval '1 second',
                         timestamptz '2026-01-01' + {end} * interval '1 second',
                         '{outcome}', {interval})"
            ))
            .await?;
        }
        Ok(Self { db, machine })
    }

    async fn audit(&self, rules: &Rules) -> Result<Audit> {
        Ok(audit(self.db.url(), rules).await?)
    }
}

/// The violations of a log, as text, with the machine's id as `M`.
async fn check(rows: &[Row<'_>], expected: &[&str]) -> Result {
    let log = Log::of(rows).await?;
    let audit = log.audit(&Rules::new(RETRY)).await?;
    let machine = log.machine.to_string();
    let found: Vec<String> = audit
        .violations
        .iter()
        .map(|violation| violation.to_string().replace(&machine, "M"))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(audit.is_clean(), expected.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_log_without_violations_is_clean_and_counted() -> Result {
    let log = Log::of(&[
        (START, 1, 0.0, 1.0, "Failed", Some(1)),
        (START, 2, 2.0, 3.0, "Failed", Some(2)),
        (START, 3, 5.0, 6.0, "Canceled", None),
        (START, 4, 6.0, 7.0, "Expired", Some(15)),
        (START, 5, 22.0, 23.0, "Failed", Some(4)),
        (START, 6, 27.0, 28.0, "Finished", None),
        (START, 7, 28.0, 29.0, "Failed", Some(1)),
    ])
    .await?;
    let audit = log.audit(&Rules::new(RETRY)).await?;
    assert_eq!(
        audit.to_string(),
        "7 attempts: 1 finished, 4 failed, 1 canceled, 1 expired; 0 held; 0 violations"
    );
    assert_eq!(audit.worst_intervals, [1, 2, 4]);
    Ok(())
}

#[tokio::test]
async fn overlapping_attempts_of_one_lane_are_found() -> Result {
    check(
        &[
            (START, 1, 0.0, 10.0, "Finished", None),
            (RECOVERY, 2, 9.5, 9.75, "Finished", None),
            (RECOVERY, 3, 9.75, 11.0, "Finished", None),
        ],
        &[
            "machine M ShepherdRecovery fence 2 started 500ms before fence 1 of \
             ShepherdAgentStart had ended, both in lane shepherd",
            "machine M ShepherdRecovery fence 3 started 250ms before fence 1 of \
             ShepherdAgentStart had ended, both in lane shepherd",
        ],
    )
    .await
}

#[tokio::test]
async fn processes_of_different_lanes_may_overlap() -> Result {
    check(
        &[
            (START, 1, 0.0, 10.0, "Finished", None),
            ("Undefined", 2, 1.0, 9.0, "Finished", None),
        ],
        &[],
    )
    .await
}

#[tokio::test]
async fn machines_do_not_share_lanes_or_backoffs() -> Result {
    let log = Log::of(&[(START, 1, 0.0, 10.0, "Failed", Some(1))]).await?;
    log.db
        .run_sql(
            "INSERT INTO work_attempt
             SELECT gen_random_uuid(), fence + 1, fence + 1, process, session_id, started_at,
                    ended_at, outcome, cause, repeats, interval_seconds FROM work_attempt",
        )
        .await?;
    assert!(log.audit(&Rules::new(RETRY)).await?.is_clean());
    Ok(())
}

#[tokio::test]
async fn a_fence_that_decreases_is_found() -> Result {
    check(
        &[
            (START, 2, 0.0, 1.0, "Finished", None),
            (RECOVERY, 1, 1.0, 2.0, "Finished", None),
        ],
        &[
            "machine M ShepherdRecovery fence 1 started after fence 2 of the same lane, but has a \
             smaller number",
        ],
    )
    .await
}

#[tokio::test]
async fn an_end_before_the_start_is_found() -> Result {
    check(
        &[(START, 1, 1.0, 0.5, "Finished", None)],
        &["machine M ShepherdAgentStart fence 1 ended before it started"],
    )
    .await
}

#[tokio::test]
async fn a_start_within_a_failures_backoff_is_found_even_after_a_cancel() -> Result {
    check(
        &[
            (START, 1, 0.0, 1.0, "Failed", Some(1)),
            (START, 2, 1.5, 1.6, "Canceled", None),
            (START, 3, 1.75, 3.0, "Finished", None),
        ],
        &[
            "machine M ShepherdAgentStart fence 2 started 500ms inside the backoff that fence 1 \
             had imposed",
            "machine M ShepherdAgentStart fence 3 started 250ms inside the backoff that fence 1 \
             had imposed",
        ],
    )
    .await
}

#[tokio::test]
async fn a_start_within_the_delay_after_an_expired_attempt_is_found() -> Result {
    check(
        &[
            (START, 1, 0.0, 1.0, "Expired", Some(15)),
            (START, 2, 15.0, 16.0, "Finished", None),
        ],
        &[
            "machine M ShepherdAgentStart fence 2 started 1s inside the backoff that fence 1 had \
             imposed",
        ],
    )
    .await
}

#[tokio::test]
async fn a_finish_ends_the_backoff() -> Result {
    check(
        &[
            (START, 1, 0.0, 1.0, "Failed", Some(1)),
            (START, 2, 2.0, 2.25, "Finished", None),
            (START, 3, 2.25, 2.5, "Failed", Some(1)),
        ],
        &[],
    )
    .await
}

#[tokio::test]
async fn intervals_that_do_not_follow_the_policy_are_found() -> Result {
    check(
        &[
            (START, 1, 0.0, 1.0, "Failed", Some(2)),
            (START, 2, 10.0, 11.0, "Failed", Some(4)),
            (START, 3, 20.0, 21.0, "Failed", None),
            (START, 4, 30.0, 31.0, "Failed", Some(1)),
            (START, 5, 40.0, 41.0, "Finished", None),
            (START, 6, 50.0, 51.0, "Failed", Some(2)),
        ],
        &[
            "machine M ShepherdAgentStart fence 1 recorded an interval of 2 s after none, its \
             policy gives 1 s",
            "machine M ShepherdAgentStart fence 3 recorded an interval of none after 4 s, its \
             policy gives 5 s",
            "machine M ShepherdAgentStart fence 6 recorded an interval of 2 s after none, its \
             policy gives 1 s",
        ],
    )
    .await
}

#[tokio::test]
async fn a_process_can_have_its_own_policy() -> Result {
    let log = Log::of(&[(RECOVERY, 1, 0.0, 1.0, "Failed", Some(60))]).await?;
    let mut rules = Rules::new(RETRY);
    assert!(!log.audit(&rules).await?.is_clean());
    let minute = Backoff::fixed(Seconds::from_db(60));
    rules.backoff_of.insert(Process::SHEPHERD_RECOVERY, minute);
    assert!(log.audit(&rules).await?.is_clean());
    Ok(())
}

#[tokio::test]
async fn claims_without_an_end_and_claims_of_two_workers_are_found() -> Result {
    let log = Log::of(&[
        (START, 1, 0.0, 1.0, "Finished", None),
        (START, 2, 1.0, 2.0, "Finished", None),
    ])
    .await?;
    let (machine, fence) = (log.machine, Fence::new);
    let mut rules = Rules::new(RETRY);
    rules.claimed = Some([1, 2].map(|n| (machine, fence(n))).to_vec());
    assert!(log.audit(&rules).await?.is_clean());
    rules.claimed = Some([1, 1, 3].map(|n| (machine, fence(n))).to_vec());
    assert_eq!(
        log.audit(&rules).await?.violations,
        [
            Violation::ClaimedTwice {
                machine,
                fence: fence(1),
                times: 2
            },
            Violation::NoEnd {
                machine,
                fence: fence(3)
            },
        ]
    );
    Ok(())
}

#[tokio::test]
async fn ends_recorded_with_another_outcome_than_acknowledged_are_found() -> Result {
    let log = Log::of(&[
        (START, 1, 0.0, 1.0, "Finished", None),
        (START, 2, 1.0, 2.0, "Expired", Some(1)),
        (START, 3, 3.0, 4.0, "Failed", Some(1)),
    ])
    .await?;
    let end = |fence, outcome| (log.machine, Fence::new(fence), outcome);
    let mut rules = Rules::new(RETRY);
    rules.acknowledged = vec![end(1, Outcome::Finished), end(3, Outcome::Failed)];
    rules.refused = vec![end(2, Outcome::Finished)];
    assert!(log.audit(&rules).await?.is_clean());

    rules.acknowledged.extend([
        end(1, Outcome::Finished),
        end(2, Outcome::Canceled),
        end(4, Outcome::Failed),
    ]);
    rules.refused.push(end(3, Outcome::Failed));
    let machine = log.machine.to_string();
    let violations = log.audit(&rules).await?.violations;
    let found: Vec<String> = violations
        .iter()
        .map(|violation| violation.to_string().replace(&machine, "M"))
        .collect();
    assert_eq!(
        found,
        [
            "machine M fence 2 was acknowledged as Canceled, but is recorded as Expired",
            "machine M fence 4 was acknowledged as Failed, but is recorded as nothing",
            "machine M fence 1 was acknowledged as ended 2 times",
            "machine M fence 3 was refused its end, but is recorded as Failed",
        ]
    );
    Ok(())
}

#[tokio::test]
async fn a_claimed_machine_is_a_violation_unless_allowed_and_is_checked_in_both_cases() -> Result {
    let log = Log::of(&[(START, 1, 0.0, 10.0, "Failed", Some(1))]).await?;
    let (machine, session) = (log.machine, log.db.session(Duration::from_secs(5)).await?);
    log.db
        .run_sql(&format!(
            "INSERT INTO work_item (machine_id, process, lane, session_id, started_at, fence)
             VALUES ('{machine}', '{START}', 'shepherd', '{session}', '2026-01-01 00:00:11', 2)"
        ))
        .await?;
    let mut rules = Rules::new(RETRY);
    rules.claimed = Some(vec![(machine, Fence::new(2))]);
    assert!(matches!(
        log.audit(&rules).await?.violations[..],
        [Violation::StillHeld { .. }]
    ));
    rules.held = Held::Allowed;
    let audit = log.audit(&rules).await?;
    assert!(audit.is_clean(), "{audit}");
    assert_eq!((audit.attempts, audit.held), (1, 1));

    log.db
        .run_sql("UPDATE work_item SET started_at = '2026-01-01 00:00:09'")
        .await?;
    assert!(matches!(
        log.audit(&rules).await?.violations[..],
        [Violation::Overlap { .. }, Violation::InsideBackoff { .. }]
    ));
    Ok(())
}

#[tokio::test]
async fn folded_history_and_jitter_are_errors() -> Result {
    let log = Log::of(&[(START, 1, 0.0, 1.0, "Failed", Some(1))]).await?;
    let jittered = Rules::new(RETRY.with_jitter(Jitter::Full));
    let refused = audit(log.db.url(), &jittered).await;
    assert!(matches!(refused, Err(AuditError::Jitter(_))));
    log.db
        .run_sql("UPDATE work_attempt SET repeats = 3")
        .await?;
    let refused = audit(log.db.url(), &Rules::new(RETRY)).await.unwrap_err();
    assert!(
        refused.to_string().contains("HistoryDetail::Full"),
        "{refused}"
    );
    Ok(())
}
