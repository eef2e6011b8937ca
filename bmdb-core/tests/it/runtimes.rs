//! Runtimes: handles that outlive theirs, calls outside of any, and steps that block a thread.

use crate::control_loop::{Does, options};
use crate::scenario::{RETRY, Scenario};
use crate::wait::until;
use bmdb_core::control_loop::{Commit, Runner, Shutdown};
use bmdb_core::operator::Operator;
use bmdb_core::{
    Bmdb, Claim, Config, ConnectError, Reader, Session, SessionOptions, SessionState, TxError, Work,
};
use bmdb_model::{AgentStarted, MachineId, Process};
use bmdb_testkit::TestDb;
use futures_util::FutureExt;
use std::future::Future;
use std::time::{Duration, Instant};
use tokio::runtime::{Builder, Runtime};

const START: Process = Process::SHEPHERD_AGENT_START;

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Everything that a program may hold when its runtime ends.
struct Held {
    bmdb: Bmdb,
    reader: Reader,
    session: Session,
    claimed: Vec<Work>,
}

impl Held {
    async fn of(db: &TestDb) -> Self {
        let config = Config::new(db.url()).component("held");
        let bmdb = Bmdb::connect(config.clone().janitor_interval(None))
            .await
            .unwrap();
        let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
        let claimed = session.claim(&Claim::of(&START).limit(5)).await.unwrap();
        Self {
            reader: Reader::connect(config).await.unwrap(),
            bmdb,
            session,
            claimed,
        }
    }
}

async fn machines(db: TestDb, count: usize) -> Scenario {
    let s = Scenario::on(db).await;
    for number in 0..count {
        s.provided(&number.to_string()).await;
    }
    s
}

fn is_ended(error: &TxError) {
    assert!(matches!(error, TxError::RuntimeEnded), "{error:?}");
    assert!(error.to_string().contains("make a Bmdb in each runtime"));
}

// A test suite kept its Bmdb in a static, and each #[tokio::test] has a runtime of its own. All tests but the
// first failed with "connection closed", or hung.
#[test]
fn after_its_runtime_has_ended_everything_refuses_and_says_so() {
    let outer = Runtime::new().unwrap();
    for first in [one_thread(), Runtime::new().unwrap()] {
        let s = outer.block_on(async { machines(TestDb::new().await.unwrap(), 5).await });
        let held = first.block_on(Held::of(&s.db));
        drop(first);
        let began = Instant::now();
        outer.block_on(refuses(held));
        // Nothing waits for a timeout, and Bmdb's own is ten seconds.
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "{:?}",
            began.elapsed()
        );
    }
}

async fn refuses(held: Held) {
    let Held {
        bmdb,
        reader,
        session,
        mut claimed,
    } = held;
    let machine = MachineId::random();
    is_ended(&bmdb.history_of(machine).await.unwrap_err());
    is_ended(&bmdb.reclaim_expired().await.unwrap_err());
    is_ended(&bmdb.janitor_turn().await.unwrap_err());
    is_ended(&bmdb.replan().await.unwrap_err());
    let started = bmdb.start_session(SessionOptions::default()).await;
    assert!(started.unwrap_err().to_string().contains("runtime"));
    assert!(
        bmdb.migrate()
            .await
            .unwrap_err()
            .to_string()
            .contains("runtime")
    );
    is_ended(&reader.read(async |_| Ok(())).await.unwrap_err());
    is_ended(&session.transact(async |_| Ok(())).await.unwrap_err());
    is_ended(&session.claim(&Claim::of(&START)).await.unwrap_err());
    is_ended(
        &session
            .heartbeat_agents(&[(machine, None)])
            .await
            .unwrap_err(),
    );
    is_ended(
        &session
            .poller(&Claim::of(&START))
            .next(1)
            .await
            .unwrap_err(),
    );
    let worked = session.work(&START, async |_| Ok(vec![machine])).await;
    assert!(worked.unwrap_err().to_string().contains("runtime"));
    let held = Operator::new("op")
        .reason("why")
        .hold(&session, machine)
        .await;
    assert!(held.unwrap_err().to_string().contains("runtime"));
    // Nothing renews the lease any more.
    claimed[0].lost().await;
    assert_eq!(session.state(), SessionState::Lost);
    let started = AgentStarted::now(b"key");
    let mut next = || claimed.remove(0);
    let work = next();
    let machine = work.machine();
    let finished = work.finish(async |tx| tx.set_agent_started(machine, &started).await);
    is_ended(&finished.await.unwrap_err().into_parts().0);
    is_ended(&next().complete().await.unwrap_err().into_parts().0);
    is_ended(&next().fail(&RETRY, "x").await.unwrap_err().into_parts().0);
    is_ended(
        &next()
            .fail_and_hold(&RETRY, "x")
            .await
            .unwrap_err()
            .into_parts()
            .0,
    );
    drop(next());
    let does = Does::new(|_, _| async { Ok(Commit::unchanged()) }.boxed());
    let run = Runner::new(&bmdb, does).run(Shutdown::new()).await;
    assert!(run.unwrap_err().to_string().contains("runtime"));
    is_ended(&session.close().await.unwrap_err());
    is_ended(&bmdb.drain(Duration::from_secs(60)).await.unwrap_err());
}

// Outside of any runtime, tokio's timers panic: "there is no reactor running".
#[test]
fn outside_of_any_runtime_calls_fail_and_do_not_panic() {
    fn now<T>(future: impl Future<Output = T>) -> T {
        future.now_or_never().expect("an answer at once")
    }
    fn is_outside(error: &TxError) {
        assert!(matches!(error, TxError::NoRuntime), "{error:?}");
    }
    let config = Config::new("postgres://localhost/db");
    let connected = now(Bmdb::connect(config.clone()));
    assert!(matches!(connected, Err(ConnectError::NoRuntime)));
    let connected = now(Reader::connect(config));
    assert!(matches!(connected, Err(ConnectError::NoRuntime)));
    let runtime = Runtime::new().unwrap();
    let s = runtime.block_on(async { machines(TestDb::new().await.unwrap(), 2).await });
    let mut held = runtime.block_on(Held::of(&s.db));
    is_outside(&now(held.bmdb.replan()).unwrap_err());
    is_outside(&now(held.session.transact(async |_| Ok(()))).unwrap_err());
    is_outside(&now(held.session.claim(&Claim::of(&START))).unwrap_err());
    is_outside(&now(held.session.poller(&Claim::of(&START)).next(1)).unwrap_err());
    is_outside(&now(held.reader.read(async |_| Ok(()))).unwrap_err());
    let (error, work) = now(held.claimed.remove(0).complete())
        .unwrap_err()
        .into_parts();
    is_outside(&error);
    let (error, again) = now(work.unwrap().finish(async |_| Ok(())))
        .unwrap_err()
        .into_parts();
    is_outside(&error);
    // The work is still there, and ends where there is a runtime.
    runtime.block_on(again.unwrap().complete()).unwrap();
    // Dropping needs no runtime.
    drop(held.claimed);
    drop(held.session);
    drop(held.bmdb);
    let closed = "NOT EXISTS (SELECT FROM sessions WHERE session_component_name = 'held')";
    runtime.block_on(until(&s.db, closed));
}

// A runtime with one thread runs only inside of its block_on.
#[test]
fn a_handle_of_a_runtime_that_does_not_run_says_so() {
    let outer = Runtime::new().unwrap();
    let s = outer.block_on(async { machines(TestDb::new().await.unwrap(), 0).await });
    let idle = one_thread();
    let held = idle.block_on(Held::of(&s.db));
    let began = Instant::now();
    let error = outer.block_on(held.bmdb.replan()).unwrap_err();
    assert!(error.to_string().contains("does not run"), "{error}");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // It is as good as before where it runs.
    idle.block_on(held.bmdb.replan()).unwrap();
}

// Two runtimes that run may share a handle.
#[test]
fn a_handle_may_be_used_in_another_runtime_while_its_own_runs() {
    let home = Runtime::new().unwrap();
    let s = home.block_on(async { machines(TestDb::new().await.unwrap(), 2).await });
    let held = home.block_on(Held::of(&s.db));
    let other = one_thread();
    other.block_on(async {
        held.session
            .transact(async |tx| tx.create_machine().await)
            .await
            .unwrap();
        for work in held.claimed {
            work.complete().await.unwrap();
        }
        held.session.close().await.unwrap();
    });
}

// A step called a synchronous client. On a runtime with one thread no heartbeat was sent for that long, and the
// machine went to another program in the middle of the step.
#[tokio::test]
async fn a_step_that_blocks_the_only_thread_keeps_its_lease() {
    let s = machines(TestDb::new().await.unwrap(), 1).await;
    let lease = SessionOptions::default().interval(Duration::from_secs(1));
    let session = s.bmdb.start_session(lease).await.unwrap();
    let work = session.claim(&Claim::of(&START)).await.unwrap().remove(0);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(session.state(), SessionState::Live);
    assert!(work.lost().now_or_never().is_none());
    let live = "SELECT count(*) FROM sessions WHERE session_deadline > clock_timestamp()";
    assert_eq!(s.rows(live).await, ["2"]);
    work.complete().await.unwrap();
}

#[tokio::test]
async fn a_control_loop_that_blocks_its_thread_finishes_its_machines() {
    let s = machines(TestDb::new().await.unwrap(), 2).await;
    let control = Does::new(|_, _| {
        async {
            std::thread::sleep(Duration::from_millis(1500));
            Ok(Commit::unchanged())
        }
        .boxed()
    });
    let lease = SessionOptions::default().interval(Duration::from_secs(1));
    let runner = Runner::new(&s.bmdb, control).options(options().once(true).session(lease));
    let summary = runner.run(Shutdown::new()).await.unwrap();
    assert_eq!((summary.finished, summary.lost), (2, 0));
}

// A heartbeat must not outlive what it vouches for.
#[test]
fn heartbeats_end_with_the_last_handle_and_with_the_runtime() {
    let outer = Runtime::new().unwrap();
    let s = outer.block_on(async { machines(TestDb::new().await.unwrap(), 0).await });
    let gone = "NOT EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND application_name = 'held')";
    let first = Runtime::new().unwrap();
    let held = first.block_on(Held::of(&s.db));
    drop(first);
    outer.block_on(until(&s.db, gone));
    drop(held);
    let second = Runtime::new().unwrap();
    let held = second.block_on(Held::of(&s.db));
    drop(held);
    outer.block_on(until(&s.db, gone));
}
