//! A database that falls silent during an operation: no operation outlives its session for long.
//!
//! Over a unix socket, where the operating system never gives up a connection.

use crate::scenario::{RETRY, Scenario, work_on};
use crate::wait::until;
use bmdb_core::{Bmdb, Claim, Config, EndError, Session, SessionOptions, TxError, Work, WorkError};
use bmdb_model::history::Retention;
use bmdb_model::{ErrorKind, Lane, MachineId, Process, ProcessDef};
use bmdb_testkit::Proxy;
use diesel_async::SimpleAsyncConnection;
use std::time::{Duration, Instant};

const ACCESS: Process = Process::SHEPHERD_ACCESS;
const START: Process = Process::SHEPHERD_AGENT_START;
const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

/// Much longer than a lease of a second.
const LONG: Duration = Duration::from_secs(8);

/// The statement timeout of tests that depend on it.
const SHORT: Duration = Duration::from_millis(500);

/// A scenario, and beside it a component with a short lease behind a proxy that can be silenced.
struct Silenced {
    s: Scenario,
    proxy: Proxy,
    bmdb: Bmdb,
    session: Session,
    machine: MachineId,
}

async fn in_time<T>(operation: impl Future<Output = T>) -> T {
    let operation = tokio::time::timeout(LONG, operation);
    operation.await.expect("it outlives its session")
}

impl Silenced {
    async fn new() -> Self {
        let second = Duration::from_secs(1);
        Self::with(second, 60 * second).await
    }

    async fn with(interval: Duration, statement_timeout: Duration) -> Self {
        let s = Scenario::new().await;
        let machine = s.provided("1").await;
        let proxy = Proxy::unix(s.db.url()).await.unwrap();
        let mut config = Config::new(proxy.url()).component("silenced");
        config.statement_timeout = statement_timeout;
        config.janitor_interval = None;
        let bmdb = Bmdb::connect(config).await.unwrap();
        let options = SessionOptions::default().interval(interval);
        let session = bmdb.start_session(options).await.unwrap();
        Self {
            s,
            proxy,
            bmdb,
            session,
            machine,
        }
    }

    async fn work(&self) -> Work {
        work_on(&self.session, &ACCESS, self.machine).await.unwrap()
    }

    /// Waits until the janitor has freed the machine.
    async fn is_freed(&self) {
        in_time(self.session.lost()).await;
        // During the silence, the server does not notice that its client has disconnected.
        let disconnect = "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
                    WHERE datname = current_database() AND application_name = 'silenced'";
        self.s.db.run_sql(disconnect).await.unwrap();
        self.s.db.expire(self.session.id()).await.unwrap();
        self.s.bmdb.reclaim_expired().await.unwrap();
        assert_eq!(self.s.rows("SELECT * FROM work").await, [""; 0]);
    }
}

#[tokio::test]
async fn a_claim_ends_with_its_session() {
    for process in [START, RECOVERY] {
        let p = Silenced::new().await;
        p.session.claim(&Claim::of(&RECOVERY)).await.unwrap();
        p.proxy.black_hole();
        let refused = in_time(p.session.claim(&Claim::of(&process))).await;
        assert!(
            matches!(refused, Err(TxError::SessionExpired)),
            "{refused:?}"
        );
        p.is_freed().await;
    }
}

#[tokio::test]
async fn a_claim_that_took_effect_unanswered_ends_with_its_session() {
    let p = Silenced::new().await;
    let mut operator = p.s.db.connect().await.unwrap();
    let lock = "BEGIN; SELECT FROM sessions FOR UPDATE";
    operator.batch_execute(lock).await.unwrap();
    let claim = Claim::of(&START);
    let claim = in_time(p.session.claim(&claim));
    let silence = async {
        let claim_waits = "EXISTS (
            SELECT FROM pg_stat_activity WHERE datname = current_database()
              AND wait_event_type = 'Lock' AND query NOT LIKE '%SET session_deadline%')";
        until(&p.s.db, claim_waits).await;
        p.proxy.black_hole();
        drop(operator);
        until(&p.s.db, "count(*) = 1 FROM work").await;
    };
    let (refused, ()) = tokio::join!(claim, silence);
    assert!(
        matches!(refused, Err(TxError::SessionExpired)),
        "{refused:?}"
    );
    p.is_freed().await;
}

#[tokio::test]
async fn work_ends_with_its_session_before_it_begins() {
    let p = Silenced::new().await;
    p.proxy.black_hole();
    let refused = in_time(work_on(&p.session, &ACCESS, p.machine)).await;
    assert!(
        matches!(refused, Err(WorkError::SessionExpired)),
        "{refused:?}"
    );
    p.is_freed().await;
}

#[tokio::test]
async fn a_poller_ends_with_its_session() {
    let p = Silenced::new().await;
    let mut poller = p.session.poller(&Claim::of(&START));
    p.proxy.black_hole();
    let ended = in_time(poller.next(1)).await;
    assert!(matches!(ended, Err(TxError::SessionExpired)), "{ended:?}");
    // Its background poll ends soon as well.
    drop(poller);
    let drained = in_time(p.bmdb.drain(LONG)).await;
    assert!(drained.unwrap(), "something went on");
}

#[tokio::test]
async fn a_transaction_ends_with_its_session() {
    let p = Silenced::new().await;
    let machine = p.machine;
    p.proxy.black_hole();
    let touch = p.session.transact(async |tx| tx.touch(machine).await);
    let ended = in_time(touch).await;
    assert!(matches!(ended, Err(TxError::SessionExpired)), "{ended:?}");
}

#[tokio::test]
async fn a_transaction_whose_closure_waits_for_something_else_ends_with_its_session() {
    let p = Silenced::new().await;
    let ended = p.session.transact(async |_| {
        p.proxy.black_hole();
        std::future::pending::<()>().await;
        Ok(())
    });
    let ended = in_time(ended).await;
    assert!(matches!(ended, Err(TxError::SessionExpired)), "{ended:?}");
}

#[tokio::test]
async fn a_transaction_whose_commit_is_not_answered_ends_with_its_session_in_doubt() {
    let p = Silenced::new().await;
    let machine = p.machine;
    let ended = p.session.transact(async |tx| {
        tx.touch(machine).await?;
        p.proxy.black_hole();
        Ok(())
    });
    let ended = in_time(ended).await;
    assert!(matches!(ended, Err(TxError::CommitUnknown(_))), "{ended:?}");
}

#[tokio::test]
async fn heartbeats_of_agents_end_with_their_session() {
    let p = Silenced::new().await;
    p.proxy.black_hole();
    let heartbeats = [(p.machine, None)];
    let ended = in_time(p.session.heartbeat_agents(&heartbeats)).await;
    assert!(matches!(ended, Err(TxError::SessionExpired)), "{ended:?}");
}

/// Checks that an end which is sent to a silent database has an unknown outcome.
async fn check_end<F: Future<Output = Result<(), EndError>>>(end: impl Fn(Work) -> F) {
    let p = Silenced::new().await;
    let work = p.work().await;
    p.proxy.black_hole();
    let lost = async {
        p.session.lost().await;
        Instant::now()
    };
    let ended = async { (in_time(end(work)).await, Instant::now()) };
    let (lost, (ended, returned)) = tokio::join!(lost, ended);
    let (reason, work) = ended.unwrap_err().into_parts();
    assert!(matches!(reason, TxError::CommitUnknown(_)), "{reason}");
    assert!(work.is_none(), "no later end could change anything");
    // All tries of an end share the half second after the loss.
    let took = returned - lost;
    assert!(took < Duration::from_secs(1), "{took:?}");
    p.is_freed().await;
}

#[tokio::test]
async fn a_failure_ends_with_its_session_in_doubt() {
    check_end(async |work| work.fail(&RETRY, "silence").await.map(drop)).await;
}

#[tokio::test]
async fn a_cancellation_ends_with_its_session_in_doubt() {
    check_end(Work::cancel).await;
}

#[tokio::test]
async fn a_finish_without_closure_ends_with_its_session_in_doubt() {
    check_end(Work::complete).await;
}

#[tokio::test]
async fn a_finish_ends_with_its_session() {
    for commits in [false, true] {
        let p = Silenced::new().await;
        let work = p.work().await;
        if !commits {
            p.proxy.black_hole();
        }
        let finish = work.finish(async |_| {
            p.proxy.black_hole();
            Ok(())
        });
        let (reason, work) = in_time(finish).await.unwrap_err().into_parts();
        let is_in_doubt = matches!(reason, TxError::CommitUnknown(_));
        assert_eq!(is_in_doubt, commits, "{reason}");
        assert!(is_in_doubt || matches!(reason, TxError::SessionExpired));
        assert!(work.is_none());
        p.is_freed().await;
    }
}

#[tokio::test]
async fn pipelined_ends_end_with_their_session() {
    let p = Silenced::new().await;
    let work = p.work().await;
    let start = Claim::of(&START).limit(9);
    p.s.provided("2").await;
    let mut claimed = p.session.claim(&start).await.unwrap();
    claimed.push(work);
    assert_eq!(claimed.len(), 2);
    p.proxy.black_hole();
    let failures = claimed.into_iter().map(|work| (work, &RETRY, "silence"));
    for ended in in_time(p.session.fail_all(failures)).await {
        let (reason, work) = ended.unwrap_err().into_parts();
        assert!(matches!(reason, TxError::CommitUnknown(_)), "{reason}");
        assert!(work.is_none());
    }
    p.is_freed().await;
}

/// Nothing was sent, so nothing is in doubt.
#[tokio::test]
async fn an_end_that_finds_no_connection_ends_with_its_session() {
    let p = Silenced::new().await;
    let work = p.work().await;
    p.proxy.cut();
    p.proxy.black_hole();
    let (reason, work) = in_time(work.cancel()).await.unwrap_err().into_parts();
    assert!(matches!(reason, TxError::SessionExpired), "{reason}");
    assert!(work.is_none());
    p.is_freed().await;
}

#[tokio::test]
async fn closing_returns_when_the_lease_would_have_run_out() {
    let p = Silenced::new().await;
    p.proxy.black_hole();
    let closed = in_time(p.session.close()).await;
    let closed = closed.unwrap_err();
    assert_eq!(closed.kind(), Some(ErrorKind::ConnectionLost), "{closed}");
}

/// An operation with a lease of a day does not wait for a day.
#[tokio::test]
async fn a_statement_under_a_long_lease_is_given_up_after_the_statement_timeout() {
    let p = Silenced::with(Duration::from_secs(86_400), SHORT).await;
    p.session.claim(&Claim::of(&RECOVERY)).await.unwrap();
    p.proxy.black_hole();
    let claimed = in_time(p.session.claim(&Claim::of(&START))).await;
    let lost = claimed.unwrap_err();
    assert_eq!(lost.kind(), Some(ErrorKind::ConnectionLost), "{lost}");
}

async fn check_given_up<T>(operation: impl AsyncFn(&Silenced) -> Result<T, TxError>) {
    let p = Silenced::with(Duration::from_secs(86_400), SHORT).await;
    operation(&p).await.map(drop).unwrap();
    p.proxy.black_hole();
    let lost = in_time(operation(&p)).await.map(drop).unwrap_err();
    assert_eq!(lost.kind(), Some(ErrorKind::ConnectionLost), "{lost}");
    // The pool has kept its size.
    p.proxy.heal().unwrap();
    operation(&p).await.map(drop).unwrap();
}

#[tokio::test]
async fn an_operation_without_a_session_is_given_up_after_the_statement_timeout() {
    // The definition in force, which any component may repeat.
    let definition = &ProcessDef::new(ACCESS).lane(Lane::SHEPHERD);
    let retention = Retention {
        attempts_per_machine: 1,
        seconds: 1,
    };
    tokio::join!(
        check_given_up(async |p| p.bmdb.history_of(p.machine).await),
        check_given_up(async |p| p.bmdb.replan().await),
        check_given_up(async |p| p.bmdb.reclaim_expired().await),
        check_given_up(async |p| p.bmdb.janitor_turn().await),
        check_given_up(async |p| p.bmdb.janitor_dry_run().await),
        check_given_up(async |p| p.bmdb.trim_history(retention).await),
        check_given_up(async |p| p.bmdb.define_process(definition).await),
        check_given_up(async |p| {
            let started = p.bmdb.start_session(SessionOptions::default()).await;
            started.map_err(|error| match error {
                bmdb_core::SessionError::Transaction(error) => error,
                other => panic!("{other}"),
            })
        }),
    );
}
