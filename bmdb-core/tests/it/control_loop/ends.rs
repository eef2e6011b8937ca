//! Ends of attempts, by the result of processing.

use super::{Does, Running, once, options};
use crate::scenario::{RETRY, Scenario, work_access, work_on};
use crate::wait::until;
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::control_loop::{
    Commit, ControlLoop, Event, Failure, Machine, Outcome, Runner, Shutdown,
};
use bmdb_core::{TxError, Work, WorkError};
use bmdb_model::{AgentStarted, Process};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const NOTHING_HELD: &str = "NOT EXISTS (SELECT FROM work_item WHERE session_id IS NOT NULL)";

#[tokio::test]
async fn a_commit_is_written_with_the_end() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let does = Does::new(|work, machine| {
        Box::pin(async {
            assert_eq!(work.machine(), machine.id);
            assert_eq!(machine.provided.as_ref().unwrap().provider_id, "a");
            assert_eq!((machine.attempt, machine.previous_interval), (1, None));
            Ok(Commit::agent_started(AgentStarted::now(b"key")))
        })
    });
    let log = does.log.clone();
    let summary = once(&s.bmdb, does).await.unwrap();
    assert_eq!((summary.claimed, summary.finished), (1, 1));
    assert_eq!(s.attempts().await, ["Finished||"]);
    let started = s.rows("SELECT machine_id FROM machine_agent_started").await;
    assert_eq!(started, [machine.to_string()]);
    assert_eq!(
        log.lines(),
        [
            "session started",
            "started attempt 1",
            "Finished { rest: None }"
        ]
    );
    assert_eq!(
        s.rows("SELECT count(*) FROM sessions").await,
        ["1"],
        "the test's own"
    );
}

/// A loop whose backoff depends on its attempts.
#[derive(Clone, Default)]
struct Adapts {
    attempts: Arc<AtomicU32>,
    intervals: Arc<Mutex<Vec<Seconds>>>,
}

impl ControlLoop for Adapts {
    fn workflow(&self) -> Process {
        Process::SHEPHERD_AGENT_START
    }

    fn backoff(&self) -> Backoff {
        let attempts = self.attempts.load(Ordering::Relaxed);
        Backoff::fixed(Seconds::new(60 + attempts).unwrap())
    }

    async fn process(&self, _: &Work, _: &Machine) -> Result<Commit, Failure> {
        self.attempts.fetch_add(1, Ordering::Relaxed);
        Err(Failure::new("no answer"))
    }

    fn on_event(&self, event: &Event<'_>) {
        if let Event::Ended { outcome, .. } = event
            && let Outcome::Failed { interval, .. } = outcome
        {
            self.intervals.lock().unwrap().push(*interval);
        }
    }
}

#[tokio::test]
async fn a_loop_is_asked_for_its_backoff_after_the_attempt() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let adapts = Adapts::default();
    let runner = Runner::new(&s.bmdb, adapts.clone()).options(options().once(true));
    runner.run(Shutdown::new()).await.unwrap();
    let intervals = adapts.intervals.lock().unwrap().clone();
    assert_eq!(intervals, [Seconds::new(61).unwrap()]);
}

#[tokio::test]
async fn a_closure_writes_what_it_has_captured() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let does = Does::new(|_, machine| {
        let (id, report) = (machine.id, "32 cores".to_owned());
        let write =
            Commit::tags(async move |tx| tx.set_hardware_report(id, report.as_bytes()).await);
        Box::pin(async { Ok(write) })
    });
    once(&s.bmdb, does).await.unwrap();
    let reports = "SELECT convert_from(hardware_report_raw, 'UTF8') FROM machine_hardware_report";
    assert_eq!(s.rows(reports).await, ["32 cores"]);
}

#[tokio::test]
async fn a_commit_that_fails_fails_the_work() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let does = Does::new(|_, machine| {
        let id = machine.id;
        let write = Commit::tags(async move |tx| {
            tx.set_agent_started(id, &AgentStarted::now(b"key")).await?;
            Err(TxError::abort("the key is taken"))
        });
        Box::pin(async { Ok(write) })
    });
    let summary = once(&s.bmdb, does).await.unwrap();
    assert_eq!((summary.finished, summary.failed), (0, 1));
    assert_eq!(
        s.attempts().await,
        [
            "Failed|what was achieved could not be committed: the transaction was aborted by its \
          closure: the key is taken|1"
        ]
    );
    assert_eq!(
        s.rows("SELECT count(*) FROM machine_agent_started").await,
        ["0"]
    );
}

#[tokio::test]
async fn an_error_becomes_the_cause_and_the_machine_backs_off_as_the_loop_says() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let fails = || {
        Does::new(|_, _| Box::pin(async { Err(std::io::Error::other("no answer on port 22"))? }))
    };
    once(&s.bmdb, fails()).await.unwrap();
    assert_eq!(s.attempts().await, ["Failed|no answer on port 22|1"]);
    let idle = once(&s.bmdb, fails()).await.unwrap();
    assert_eq!(idle.claimed, 0, "it rests");
    s.advance(2).await;
    once(&s.bmdb, fails()).await.unwrap();
    let start = Process::SHEPHERD_AGENT_START;
    let backoff = s.backoff(machine, &start).await.unwrap();
    assert_eq!(backoff.last_interval_seconds, Some(2));
}

#[tokio::test]
async fn a_failure_may_have_its_own_backoff() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let day = Backoff::fixed(Seconds::new(86_400).unwrap());
    let does = Does::new(move |_, _| {
        let failure = Failure::new("broken fan").backoff(day);
        Box::pin(async { Err(failure) })
    });
    once(&s.bmdb, does).await.unwrap();
    assert_eq!(s.attempts().await, ["Failed|broken fan|86400"]);
}

#[tokio::test]
async fn an_attempt_knows_its_number() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let work = s.claim_one().await;
    work.fail(&RETRY, "x").await.unwrap();
    s.advance(2).await;
    let does = Does::new(|_, machine: &Machine| {
        assert_eq!(
            (machine.attempt, machine.previous_interval),
            (2, Seconds::new(1))
        );
        Box::pin(async { Ok(Commit::unchanged()) })
    });
    assert_eq!(once(&s.bmdb, does).await.unwrap().finished, 1);
}

#[tokio::test]
async fn a_panic_is_a_failure_with_its_message() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let does = Does::new(|_, machine: &Machine| {
        let id = &machine.provided.as_ref().unwrap().provider_id;
        Box::pin(async move { panic!("cannot happen to {id}") })
    });
    let summary = once(&s.bmdb, does).await.unwrap();
    assert_eq!((summary.failed, summary.lost), (1, 0));
    assert_eq!(
        s.attempts().await,
        ["Failed|panicked: cannot happen to a|1"]
    );
}

/// The panic comes before there is a future.
#[tokio::test]
async fn a_panic_that_makes_no_future_is_a_failure_too() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let does = Does::new(|_, _| panic!("at once"));
    once(&s.bmdb, does).await.unwrap();
    assert_eq!(s.attempts().await, ["Failed|panicked: at once|1"]);
}

#[tokio::test]
async fn a_machine_on_hold_is_claimed_for_no_process() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let does = Does::new(|_, _| Box::pin(async { Err(Failure::hold("wrong BIOS")) }));
    let log = does.log.clone();
    let summary = once(&s.bmdb, does).await.unwrap();
    assert_eq!((summary.failed, summary.put_on_hold), (1, 1));
    assert_eq!(log.lines()[2], "failed: wrong BIOS, put on hold: true");
    assert_eq!(s.attempts().await, ["Failed|wrong BIOS|1"]);
    assert_eq!(
        s.rows("SELECT reason FROM machine_hold").await,
        ["wrong BIOS"]
    );
    s.advance(2).await;
    let refused = work_on(&s.session, &Process::SHEPHERD_ACCESS, machine).await;
    assert!(
        matches!(refused, Err(WorkError::OnHold { .. })),
        "{refused:?}"
    );
    let again = Does::new(|_, _| Box::pin(async { Ok(Commit::unchanged()) }));
    assert_eq!(once(&s.bmdb, again).await.unwrap().claimed, 0);
    let release = s
        .session
        .transact(async |tx| tx.release_hold(machine).await);
    release.await.unwrap();
    s.claim_one().await.cancel().await.unwrap();
}

#[tokio::test]
async fn a_failure_and_its_hold_are_recorded_in_one_transaction() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = work_access(&s.session).await.unwrap();
    s.db.expire(s.session.id()).await.unwrap();
    let error = work.fail_and_hold(&RETRY, "x").await.unwrap_err();
    assert!(matches!(error.reason(), TxError::SessionExpired), "{error}");
    assert_eq!(s.rows("SELECT count(*) FROM machine_hold").await, ["0"]);
    assert_eq!(s.rows("SELECT count(*) FROM work_attempt").await, ["0"]);
    s.bmdb.reclaim_expired().await.unwrap();
    s.advance(3600).await;
    // A refused hold rolls back the failure too.
    let session = s.another_session().await;
    let work = work_on(&session, &Process::SHEPHERD_ACCESS, machine)
        .await
        .unwrap();
    let refuse = "ALTER TABLE machine_hold ADD CONSTRAINT refused CHECK (reason <> 'refused')";
    s.db.run_sql(refuse).await.unwrap();
    let error = work.fail_and_hold(&RETRY, "refused").await.unwrap_err();
    let work = error.into_work().expect("the work is still claimed");
    let outcomes = "SELECT outcome FROM work_attempt";
    assert_eq!(s.rows(outcomes).await, ["Expired"]);
    work.cancel().await.unwrap();
}

#[tokio::test]
async fn an_operators_hold_keeps_its_reason() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = s.claim_one().await;
    let hold = s
        .session
        .transact(async |tx| tx.hold(machine, "rack B is moved").await);
    hold.await.unwrap();
    let failed = work.fail_and_hold(&RETRY, "no power").await.unwrap();
    assert_eq!(failed.interval.get(), 1);
    assert_eq!(
        s.rows("SELECT reason FROM machine_hold").await,
        ["rack B is moved"]
    );
    assert_eq!(s.attempts().await, ["Failed|no power|1"]);
}

#[tokio::test]
async fn a_canceled_machine_is_given_back_at_once_and_rests_for_a_while() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let does = || Does::new(|_, _| Box::pin(async { Err(Failure::cancel()) }));
    let running = Running::new(&s.bmdb, does(), options());
    until(&s.db, "count(*) > 0 FROM work_attempt").await;
    until(&s.db, NOTHING_HELD).await;
    // Many polls later, it is still the first attempt.
    tokio::time::sleep(Duration::from_millis(300)).await;
    let summary = running.stop().await;
    assert_eq!(
        (summary.claimed, summary.canceled, summary.failed),
        (1, 1, 0)
    );
    assert_eq!(s.attempts().await, ["Canceled||"]);
    let rest = s.backoff(machine, &Process::SHEPHERD_AGENT_START).await;
    let rest = rest.unwrap();
    assert_eq!((rest.cause, rest.last_interval_seconds), (None, None));
    s.advance(11).await;

    let short = options().cancel_pause(Duration::from_millis(1));
    let running = Running::new(&s.bmdb, does(), short);
    until(&s.db, "sum(repeats) > 3 FROM work_attempt").await;
    assert!(running.stop().await.canceled > 2);
    until(&s.db, NOTHING_HELD).await;
}
