//! Rests: a finish plans its machine, and one without an effect that lasts is followed by a rest.

use crate::scenario::{ACCESS, RECOVERY, START, Scenario, failed};
use bmdb_model::internal::plan::KnownDefinitions;
use bmdb_model::internal::work::{self, Attempt, Ended, Finish, How, Jitter, Rest};
use bmdb_model::work::{RestCause, resting};
use bmdb_model::{MachineId, ProcessDef, TagWrites};
use chrono::{DateTime, TimeDelta, Utc};

const ITEM: &str = "SELECT unproductive, flapping, failures, last_interval_seconds, cause
                    FROM work_item WHERE process = 'ShepherdAgentStart'";

impl Scenario {
    /// Writes a tag as a body does that knows nothing of bmdb.
    async fn start_agent_by_sql(&self, machine: MachineId) {
        let sql = format!(
            "INSERT INTO machine_agent_started VALUES ('{machine}', clock_timestamp(), 'key')"
        );
        self.db.run_sql(&sql).await.unwrap();
    }

    /// As if the agent had been lost: by SQL too, and planned.
    async fn stop_agent(&mut self, machine: MachineId) {
        self.db
            .run_sql("DELETE FROM machine_agent_started")
            .await
            .unwrap();
        self.write(machine, async |_| Ok(())).await.unwrap();
    }

    /// Claims and finishes the only due machine; returns the cause of its rest, and its length in seconds.
    async fn finish_one(&mut self) -> Option<(RestCause, i64)> {
        let attempt = self.claim_one(&START).await;
        self.rest_after(&attempt).await
    }

    async fn rest_after(&mut self, attempt: &work::Attempt) -> Option<(RestCause, i64)> {
        let now: DateTime<Utc> = bmdb_model::connection::clock(&mut self.conn).await.unwrap();
        let rest = self.finish_judged(attempt).await?;
        Some((rest.cause.unwrap(), (rest.until - now).num_seconds()))
    }

    /// Finishes with the effect that the agent is started, and loses it again.
    async fn recover_one(&mut self) -> Option<(RestCause, i64)> {
        let attempt = self.claim_one(&START).await;
        self.start_agent_by_sql(attempt.machine).await;
        let rest = self.rest_after(&attempt).await;
        self.stop_agent(attempt.machine).await;
        rest
    }
}

#[tokio::test]
async fn a_machine_that_is_still_due_rests_twice_as_long_each_time_up_to_a_maximum() {
    let mut s = Scenario::new().await;
    s.db.run_sql(
        "UPDATE process_def SET rest_maximum_seconds = 100 WHERE process = 'ShepherdAgentStart'",
    )
    .await
    .unwrap();
    s.provided("a").await;
    for (times, seconds) in [(1, 30), (2, 60), (3, 100), (4, 100)] {
        let unproductive = RestCause::Unproductive(times);
        assert_eq!(s.finish_one().await, Some((unproductive, seconds)));
        let cause = "finished, and the machine is still due";
        assert_eq!(
            s.rows(ITEM).await,
            [format!("{times}|0|0|{seconds}|{cause}")]
        );
        let listed = resting(&mut s.conn, 9).await.unwrap();
        assert_eq!((listed.len(), listed[0].unproductive), (1, times));
        s.advance(seconds.unsigned_abs() - 5).await;
        assert!(s.claim(&START).await.is_empty(), "it rests");
        s.advance(6).await;
    }
    // A failure goes on with its own sequence, and does not make the finishes productive.
    let claimed = work::claim(&mut s.conn, &START, None, s.session, 1).await;
    let claimed = claimed.unwrap().unwrap().remove(0);
    assert_eq!((claimed.failures, claimed.previous_interval), (0, None));
    let attempt = crate::scenario::attempt(&claimed, &START, s.session);
    s.fail(&attempt, 1, "no answer").await;
    s.advance(2).await;
    let unproductive = RestCause::Unproductive(5);
    assert_eq!(s.finish_one().await, Some((unproductive, 100)));
}

#[tokio::test]
async fn what_was_written_by_sql_only_is_planned_and_ends_the_row() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    assert!(s.finish_one().await.is_some());
    s.advance(31).await;
    let attempt = s.claim_one(&START).await;
    s.start_agent_by_sql(machine).await;
    assert_eq!(s.finish_judged(&attempt).await, None);
    assert_eq!(s.rows(ITEM).await, ["0|1|0||"]);
    assert_eq!(s.rows("SELECT * FROM work_backoff").await, [""; 0]);
    let eligible = "SELECT process FROM work_item WHERE eligible";
    assert_eq!(
        s.rows(eligible).await,
        ["ShepherdRecovery"],
        "the next step is due later"
    );
}

#[tokio::test]
async fn the_third_quick_finish_flaps_and_rests_longer_each_time() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    assert_eq!(s.recover_one().await, None);
    assert_eq!(s.recover_one().await, None);
    assert_eq!(s.recover_one().await, Some((RestCause::Flapping(3), 60)));
    let cause = "finished 3 times, each time within 60 s of the one before";
    assert_eq!(s.rows(ITEM).await, [format!("0|2|0|60|{cause}")]);
    // Its rest does not count as a time in which it was well.
    s.advance(61).await;
    assert_eq!(s.recover_one().await, Some((RestCause::Flapping(4), 120)));
    s.advance(121 + 61).await;
    assert_eq!(s.recover_one().await, None);
    assert_eq!(s.rows(ITEM).await, ["0|0|0||"]);
    s.db.run_sql("UPDATE process_def SET flapping_within_seconds = 0")
        .await
        .unwrap();
    for _ in 0..5 {
        assert_eq!(s.recover_one().await, None, "it never flaps");
    }
}

#[tokio::test]
async fn a_process_that_the_machine_does_not_need_any_more_has_been_productive() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    // One without a workflow is never due.
    for _ in 0..5 {
        let attempt = s.claim_machine(machine, &ACCESS).await;
        assert_eq!(s.finish_judged(&attempt).await, None);
    }
    assert_eq!(
        s.rows("SELECT process FROM work_item").await,
        ["ShepherdAgentStart"]
    );
    // The next step of a workflow is another process.
    s.db.run_sql(
        "CREATE VIEW step AS SELECT machine_id, provider, NULL::timestamptz AS ready_at
         FROM machine_provided WHERE EXISTS (SELECT FROM machine_agent_started)",
    )
    .await
    .unwrap();
    let step = bmdb_model::Process::from_static("Step");
    s.define(&ProcessDef::new(step.clone()).workflow("step"))
        .await
        .unwrap();
    let attempt = s.claim_one(&START).await;
    s.start_agent_by_sql(machine).await;
    assert_eq!(s.finish_judged(&attempt).await, None);
    let next = s.claim_one(&step).await;
    let rest = s.finish_judged(&next).await.unwrap();
    assert_eq!(rest.cause, Some(RestCause::Unproductive(1)));
}

#[tokio::test]
async fn a_deadline_that_the_plan_moves_ahead_is_no_rest() {
    let mut s = Scenario::new().await;
    let hour = std::time::Duration::from_secs(3600);
    let silent = s.db.machine().provided(&bmdb_model::Provider::EQUINIX, "a");
    let silent = silent.agent_started(hour).agent_heartbeat(hour).planned();
    silent.create().await.unwrap();
    let attempt = s.claim_one(&RECOVERY).await;
    let beat = "UPDATE machine_agent_heartbeat SET agent_heartbeat_at = clock_timestamp()";
    s.db.run_sql(beat).await.unwrap();
    assert_eq!(s.finish_judged(&attempt).await, None);
    assert!(s.claim(&RECOVERY).await.is_empty());
}

#[tokio::test]
async fn a_machine_that_another_transaction_plans_is_ended_and_judged_by_the_plan_that_there_is() {
    let mut s = Scenario::new().await;
    let [slow, _] = [s.provided("a").await, s.provided("b").await];
    let attempts = s.claim(&START).await;
    let mut other = s.db.connect().await.unwrap();
    let (level, access) = (
        bmdb_model::connection::Isolation::ReadCommitted,
        bmdb_model::connection::Access::ReadWrite,
    );
    bmdb_model::internal::connection::begin(&mut other, level, access)
        .await
        .unwrap();
    bmdb_model::machine::touch(&mut other, &[slow])
        .await
        .unwrap();
    let jitter = vec![Jitter::default(); attempts.len()];
    let ended = s.finish_all(&attempts, &jitter).await;
    for (attempt, ended) in attempts.iter().zip(ended) {
        assert!(
            matches!(ended, Ended::Done(Some(_))),
            "{attempt:?}: {ended:?}"
        );
    }
    // Nor may they be claimed for as long as the other transaction takes.
    assert!(s.claim(&START).await.is_empty(), "they rest");
    bmdb_model::internal::connection::roll_back(&mut other)
        .await
        .unwrap();
}

#[tokio::test]
async fn rests_are_up_to_a_tenth_longer_by_chance() {
    let mut s = Scenario::new().await;
    for id in ["a", "b"] {
        s.provided(id).await;
    }
    let attempts = s.claim(&START).await;
    let jitter = [Jitter::from_random(0), Jitter::from_random(999)];
    let ended = s.finish_all(&attempts, &jitter).await;
    let until = ended.into_iter().map(|ended| match ended {
        Ended::Done(Some(rest)) => rest.until,
        ended => panic!("{ended:?}"),
    });
    let until: Vec<_> = until.collect();
    let longer = until[1] - until[0];
    assert!(
        (longer - TimeDelta::milliseconds(2997))
            .num_milliseconds()
            .abs()
            < 500,
        "{longer}"
    );
}

#[tokio::test]
async fn clearing_a_backoff_forgets_the_row_and_trying_at_once_does_not() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.finish_one().await;
    let ended = bmdb_model::internal::backoff::end_now(&mut s.conn, machine, &START).await;
    assert!(ended.unwrap());
    assert_eq!(s.finish_one().await, Some((RestCause::Unproductive(2), 60)));
    let cleared = bmdb_model::internal::backoff::clear(&mut s.conn, machine, &START).await;
    assert!(cleared.unwrap());
    assert_eq!(s.rows(ITEM).await, ["0|0|0||"]);
    assert_eq!(s.finish_one().await, Some((RestCause::Unproductive(1), 30)));
}

#[tokio::test]
async fn a_failure_keeps_what_finishes_have_counted() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    s.finish_one().await;
    s.advance(31).await;
    let attempt = s.claim_one(&START).await;
    work::fail(&mut s.conn, &attempt, &failed(1, "no answer"))
        .await
        .unwrap();
    assert_eq!(s.rows(ITEM).await, ["1|0|1|1|no answer"]);
}

impl Scenario {
    /// Finishes attempts without writes, in one transaction.
    async fn finish_all(
        &mut self,
        attempts: &[Attempt],
        jitter: &[Jitter],
    ) -> Vec<Ended<Option<Rest>>> {
        let writes = TagWrites::new();
        let finish = |(attempt, jitter): (_, &Jitter)| Finish {
            attempt,
            jitter: *jitter,
            writes: &writes,
        };
        let finishes: Vec<Finish<'_>> = attempts.iter().zip(jitter).map(finish).collect();
        let known = KnownDefinitions::default();
        let (session, how) = (self.session, How::default());
        let finished = work::finish_all(&mut self.conn, session, &finishes, &known, how).await;
        finished.unwrap().ended
    }
}
