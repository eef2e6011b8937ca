//! An end is keyed on machine, process, session and fence: if one of them is wrong, nothing changes.

use crate::scenario::{ACCESS, START, Scenario, failed};
use bmdb_model::internal::work::{self, Attempt, Ended};
use bmdb_model::{Error, Fence, MachineId};

const EVERYTHING: &str =
    "SELECT i, NULL FROM work_item i UNION ALL SELECT NULL, a FROM work_attempt a
                          ORDER BY 1, 2";

impl Scenario {
    /// Tries every end.
    async fn end(&mut self, attempt: &Attempt) -> [Result<Ended<()>, Error>; 3] {
        let conn = &mut self.conn;
        let failed = work::fail(conn, attempt, &failed(1, "no answer")).await;
        [
            failed.map(|ended| ended.map(drop)),
            work::finish(conn, attempt).await.map(|e| e.map(drop)),
            work::cancel(conn, attempt).await,
        ]
    }
}

#[tokio::test]
async fn an_end_with_a_wrong_key_changes_nothing() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let right = s.claim_machine(machine, &ACCESS).await;
    let older = Fence::new(right.fence.get() - 1);
    let newer = Fence::new(right.fence.get() + 1);
    let session = s.another_session().await;
    let before = s.rows(EVERYTHING).await;
    for wrong in [
        Attempt {
            machine: MachineId::random(),
            ..right.clone()
        },
        Attempt {
            process: START,
            ..right.clone()
        },
        Attempt {
            session,
            ..right.clone()
        },
        Attempt {
            fence: older,
            ..right.clone()
        },
        Attempt {
            fence: newer,
            ..right.clone()
        },
    ] {
        for ended in s.end(&wrong).await {
            assert_eq!(ended.unwrap(), Ended::Lost, "{wrong:?}");
        }
        assert_eq!(s.rows(EVERYTHING).await, before, "{wrong:?}");
    }
    s.finish(&right).await;
}

#[tokio::test]
async fn an_end_of_a_session_that_has_expired_changes_nothing() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.db.expire(s.session).await.unwrap();
    let before = s.rows(EVERYTHING).await;
    for ended in s.end(&attempt).await {
        assert_eq!(ended.unwrap(), Ended::SessionExpired);
    }
    assert_eq!(s.rows(EVERYTHING).await, before);
}

#[tokio::test]
async fn an_ended_attempt_cannot_end_again() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 1, "no answer").await;
    let before = s.rows(EVERYTHING).await;
    for ended in s.end(&attempt).await {
        assert_eq!(ended.unwrap(), Ended::Lost);
    }
    assert_eq!(s.rows(EVERYTHING).await, before);
}

#[tokio::test]
async fn a_sessions_older_claim_does_not_end_its_newer_one() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let older = s.claim_one(&START).await;
    s.cancel(&older).await;
    let newer = s.claim_one(&START).await;
    assert!(older.fence < newer.fence);
    for ended in s.end(&older).await {
        assert_eq!(ended.unwrap(), Ended::Lost);
    }
    s.finish(&newer).await;
}

#[tokio::test]
async fn a_finish_clears_the_backoff_and_a_cancel_keeps_it() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let facts = "SELECT session_id, started_at, backoff_until IS NOT NULL, last_interval_seconds, failures, cause
                 FROM work_item";
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 4, "no answer").await;
    s.advance(5).await;
    let attempt = s.claim_one(&START).await;
    s.cancel(&attempt).await;
    assert_eq!(s.rows(facts).await, ["||t|4|1|no answer"]);
    let attempt = s.claim_one(&START).await;
    // By SQL only: the finish plans the machine.
    let started = format!(
        "INSERT INTO machine_agent_started VALUES ('{}', clock_timestamp(), 'key')",
        attempt.machine
    );
    s.db.run_sql(&started).await.unwrap();
    s.finish(&attempt).await;
    let of_start = format!("{facts} WHERE process = 'ShepherdAgentStart'");
    assert_eq!(s.rows(&of_start).await, ["||f||0|"]);
    assert_eq!(s.rows("SELECT * FROM work_backoff").await, [""; 0]);
}

#[tokio::test]
async fn the_item_of_a_process_without_a_workflow_goes_when_it_carries_nothing() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let items = "SELECT process FROM work_item ORDER BY process";
    let (access, start) = ("ShepherdAccess", "ShepherdAgentStart");

    let attempt = s.claim_machine(machine, &ACCESS).await;
    s.cancel(&attempt).await;
    assert_eq!(s.rows(items).await, [start]);

    let attempt = s.claim_machine(machine, &ACCESS).await;
    s.fail(&attempt, 1, "no answer").await;
    s.advance(2).await;
    let attempt = s.claim_machine(machine, &ACCESS).await;
    s.cancel(&attempt).await;
    assert_eq!(
        s.rows(items).await,
        [access, start],
        "its backoff's interval survives a cancel"
    );

    let attempt = s.claim_machine(machine, &ACCESS).await;
    s.finish(&attempt).await;
    assert_eq!(s.rows(items).await, [start]);
}
