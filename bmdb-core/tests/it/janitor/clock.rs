//! Janitors of a database whose clock was set back by an hour.

use super::component;
use crate::scenario::{Scenario, work_on};
use crate::wait::until;
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::{Claim, SessionOptions, SessionState};
use bmdb_model::internal::{overlong, session};
use bmdb_model::{AgentStarted, Process};
use diesel_async::SimpleAsyncConnection;
use std::time::{Duration, Instant};

const HOUR: Duration = Duration::from_secs(3600);
const OFTEN: Option<Duration> = Some(Duration::from_millis(50));
const WORK: Process = Process::SHEPHERD_ACCESS;

/// Post-mortem: the database's clock was set back by an hour just when a worker died, and its machine was claimed
/// for an hour, because its deadline was an hour away.
#[tokio::test]
async fn a_dead_workers_machine_is_freed_an_interval_after_the_clock_was_set_back() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let dead = s.db.session(Duration::from_secs(2)).await.unwrap();
    s.hold_everything(dead).await;
    s.db.set_clock_back(HOUR).await.unwrap();
    let began = Instant::now();
    let _janitors = [component(&s.db, OFTEN).await, component(&s.db, OFTEN).await];
    until(&s.db, "NOT EXISTS (SELECT FROM work)").await;
    let took = began.elapsed();
    // No sooner, or the worker might still rely on its lease.
    assert!(took >= Duration::from_secs(2), "{took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(
        s.rows("SELECT outcome FROM work_attempt").await,
        ["Expired"]
    );
    let gone = format!("SELECT count(*) FROM sessions WHERE session_id = '{dead}'");
    assert_eq!(s.rows(&gone).await, ["0"]);
    // And the machine can be claimed after the reclaim delay, which begins now.
    let rests = "SELECT backoff_until < clock_timestamp() + interval '20 seconds' FROM work_item";
    assert_eq!(s.rows(rests).await, ["t"]);
}

/// The heartbeat of a worker that lives moves the deadline, by the clock that was set back: so it is plausible.
#[tokio::test]
async fn a_worker_that_lives_keeps_its_lease_when_the_clock_is_set_back() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let _janitor = component(&s.db, OFTEN).await;
    let options = SessionOptions::default().interval(Duration::from_secs(1));
    let session = s.bmdb.start_session(options).await.unwrap();
    let work = work_on(&session, &WORK, machine).await.unwrap();
    s.db.set_clock_back(HOUR).await.unwrap();
    // Longer than the interval, by clocks that cannot be moved.
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(session.state(), SessionState::Live);
    work.complete().await.unwrap();
}

/// A heartbeat at the last moment, and a deadline that moves while it stays implausible, begin the interval again.
#[tokio::test]
async fn a_lease_whose_deadline_has_changed_is_not_ended() {
    let s = Scenario::new().await;
    let bmdb = component(&s.db, None).await;
    let session = s.db.session(Duration::from_secs(1)).await.unwrap();
    s.db.set_clock_back(HOUR).await.unwrap();
    let is_there = format!("SELECT count(*) FROM sessions WHERE session_id = '{session}'");
    for _ in 0..3 {
        bmdb.janitor_turn().await.unwrap();
        tokio::time::sleep(Duration::from_millis(1100)).await;
        s.db.run_sql(
            "UPDATE sessions SET session_deadline = session_deadline + interval '1 second'",
        )
        .await
        .unwrap();
        bmdb.janitor_turn().await.unwrap();
        assert_eq!(s.rows(&is_there).await, ["1"]);
    }
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let turn = bmdb.janitor_turn().await.unwrap();
    assert_eq!(turn.reclaimed.sessions, [session]);
}

/// The janitor's statement judges the row that it has locked.
#[tokio::test]
async fn of_a_heartbeat_and_a_janitor_at_the_same_moment_the_first_one_wins() {
    let s = Scenario::new().await;
    let id = s.db.session(Duration::from_secs(60)).await.unwrap();
    s.db.set_clock_back(HOUR).await.unwrap();
    let mut janitor = s.db.connect().await.unwrap();
    let mut program = s.db.connect().await.unwrap();
    let leases = overlong::all(&mut janitor).await.unwrap();
    let lease = leases.iter().find(|lease| lease.session == id).unwrap();

    program.batch_execute("BEGIN").await.unwrap();
    let alive = session::heartbeat(&mut program, &[id]).await.unwrap();
    assert_eq!(alive, [id]);
    let ends = overlong::end(&mut janitor, lease);
    let commits = async {
        until(
            &s.db,
            "EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database()
                     AND wait_event_type = 'Lock' AND query LIKE '%session_deadline::text%')",
        )
        .await;
        program.batch_execute("COMMIT").await.unwrap();
    };
    let (ended, ()) = tokio::join!(ends, commits);
    assert!(!ended.unwrap(), "the deadline has moved");

    s.db.set_clock_back(HOUR).await.unwrap();
    let leases = overlong::all(&mut janitor).await.unwrap();
    let lease = leases.iter().find(|lease| lease.session == id).unwrap();
    assert!(overlong::end(&mut janitor, lease).await.unwrap());
    let alive = session::heartbeat(&mut program, &[id]).await.unwrap();
    assert_eq!(alive, [], "a late heartbeat does not revive it");
    assert!(!overlong::end(&mut janitor, lease).await.unwrap());
}

/// A janitor that is started again counts again, and one turn of it ends nothing.
#[tokio::test]
async fn the_first_turn_of_a_janitor_ends_no_lease() {
    let s = Scenario::new().await;
    s.db.session(Duration::from_secs(1)).await.unwrap();
    s.db.set_clock_back(HOUR).await.unwrap();
    for _ in 0..2 {
        let bmdb = component(&s.db, None).await;
        let turn = bmdb.janitor_turn().await.unwrap();
        assert_eq!(turn.reclaimed.sessions, []);
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
}

/// Also after a clock that was set forward and back again: what began in between would last for an hour more.
#[tokio::test]
async fn backoffs_that_began_in_the_future_last_no_longer_than_they_should() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let bmdb = component(&s.db, None).await;
    // Shows from now on how late it is.
    bmdb.janitor_turn().await.unwrap();
    let backoff = Backoff::fixed(Seconds::new(60).unwrap());
    let work = work_on(&s.session, &WORK, machine).await.unwrap();
    work.fail(&backoff, "no power").await.unwrap();
    let long = s.provided("b").await;
    let work = work_on(&s.session, &WORK, long).await.unwrap();
    let backoff = Backoff::fixed(Seconds::new(7 * 3600).unwrap());
    work.fail(&backoff, "no power").await.unwrap();
    s.db.set_clock_back(HOUR).await.unwrap();
    let ends = format!(
        "SELECT machine_id = '{machine}', backoff_until < clock_timestamp() + interval '70 seconds',
                backoff_until < clock_timestamp() + interval '7 hours'
         FROM work_item WHERE backoff_until IS NOT NULL ORDER BY 1"
    );
    assert_eq!(s.rows(&ends).await, ["f|f|f", "t|f|t"]);
    for _ in 0..2 {
        bmdb.janitor_turn().await.unwrap();
        // One that is longer than the clock was set back lasts less than twice as long.
        assert_eq!(s.rows(&ends).await, ["f|f|f", "t|t|t"]);
    }
}

/// A machine that had just become due would have become due an hour later.
#[tokio::test]
async fn a_machine_that_became_due_in_the_future_is_due_now() {
    let s = Scenario::new().await;
    let bmdb = component(&s.db, None).await;
    bmdb.janitor_turn().await.unwrap();
    s.provided("a").await;
    s.db.set_clock_back(HOUR).await.unwrap();
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START).limit(1);
    assert_eq!(s.session.claim(&claim).await.unwrap().len(), 0);
    bmdb.janitor_turn().await.unwrap();
    assert_eq!(s.session.claim(&claim).await.unwrap().len(), 1);
}

/// Limits count starts within a window, and a breaker trusts its count for a while.
#[tokio::test]
async fn windows_and_pauses_that_began_in_the_future_begin_now() {
    let s = Scenario::new().await;
    let bmdb = component(&s.db, None).await;
    bmdb.janitor_turn().await.unwrap();
    s.db.run_sql(
        "INSERT INTO process_control VALUES ('ShepherdAgentStart') ON CONFLICT DO NOTHING;
         INSERT INTO process_limit (process, per, max_starts, window_seconds)
         VALUES ('ShepherdAgentStart', 'provider', 1, 600);
         INSERT INTO process_slot (process, per, partition, kind, number, taken_at, free_at) VALUES
             ('ShepherdAgentStart', 'provider', 'Equinix', 'Start', 1, now(), now() + interval '10 min');
         INSERT INTO process_pause (process, provider, until, source, paused_by, reason) VALUES
             ('ShepherdAgentStart', 'Equinix', now() + interval '5 min', 'Attempt', 'x', 'x'),
             ('ShepherdAgentStart', 'Other', now() + interval '5 min', 'Operator', 'x', 'x')",
    )
    .await
    .unwrap();
    s.db.set_clock_back(HOUR).await.unwrap();
    bmdb.janitor_turn().await.unwrap();
    let ends = "SELECT 'slot', round(extract(epoch FROM free_at - clock_timestamp()) / 60)
                FROM process_slot WHERE process = 'ShepherdAgentStart'
                UNION ALL SELECT source, round(extract(epoch FROM until - clock_timestamp()) / 60)
                FROM process_pause ORDER BY 1";
    assert_eq!(s.rows(ends).await, ["Attempt|5", "Operator|65", "slot|10"]);
}

/// An agent that had just been heard would not be silent for an hour and ten minutes.
#[tokio::test]
async fn an_agent_that_was_heard_in_the_future_is_silent_ten_minutes_later() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let bmdb = component(&s.db, None).await;
    bmdb.janitor_turn().await.unwrap();
    s.session
        .transact(async |tx| {
            tx.set_agent_started(machine, &AgentStarted::now(b"key"))
                .await?;
            tx.set_agent_heartbeat(machine, None).await
        })
        .await
        .unwrap();
    s.db.set_clock_back(HOUR).await.unwrap();
    bmdb.janitor_turn().await.unwrap();
    let heard = "SELECT agent_heartbeat_at <= clock_timestamp() FROM machine_agent_heartbeat";
    assert_eq!(s.rows(heard).await, ["t"]);
    let due = "SELECT plan_at < clock_timestamp() + interval '11 minutes' FROM work_item
               WHERE process = 'ShepherdRecovery' AND eligible";
    assert_eq!(s.rows(due).await, ["t"]);
}
