//! The lease when heartbeats fail: it survives short faults, and is lost in time otherwise.

use super::component_behind;
use crate::scenario::{RETRY, Scenario, work_on};
use crate::wait::until;
use bmdb_core::{
    Bmdb, Claim, PollOptions, Session, SessionOptions, SessionState, TxError, Work, WorkError,
};
use bmdb_model::{MachineId, Process};
use bmdb_testkit::Proxy;
use diesel_async::SimpleAsyncConnection;
use std::time::Duration;

const ACCESS: Process = Process::SHEPHERD_ACCESS;
const START: Process = Process::SHEPHERD_AGENT_START;

const INTERVAL: Duration = Duration::from_secs(1);
/// Much longer than a lease here, and much shorter than the life of a silent connection.
const SOON: Duration = Duration::from_secs(8);

/// A session behind a proxy with claimed work; another machine is due for agent start.
struct Faulty {
    s: Scenario,
    proxy: Proxy,
    _bmdb: Bmdb,
    session: Session,
    work: Work,
    free: MachineId,
}

impl Faulty {
    async fn new(interval: u64) -> Self {
        let s = Scenario::new().await;
        let machine = s.provided("1").await;
        let proxy = Proxy::unix(s.db.url()).await.unwrap();
        let bmdb = component_behind(&proxy).await;
        let options = SessionOptions::default().interval(Duration::from_secs(interval));
        let session = bmdb.start_session(options).await.unwrap();
        let work = work_on(&session, &ACCESS, machine).await.unwrap();
        let free = s.provided("2").await;
        Self {
            s,
            proxy,
            _bmdb: bmdb,
            session,
            work,
            free,
        }
    }

    async fn is(&self, state: SessionState) {
        let reached = async {
            while self.session.state() != state {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let reached = tokio::time::timeout(SOON, reached).await;
        assert!(reached.is_ok(), "{:?}, not {state:?}", self.session.state());
    }

    async fn is_lost_in_time(&self, fault: &str) {
        let lost = async { tokio::join!(self.session.lost(), self.work.lost()) };
        let lost = tokio::time::timeout(SOON, lost).await;
        assert!(lost.is_ok(), "{fault}: the loss is not reported");
        assert_eq!(self.session.state(), SessionState::Lost, "{fault}");
    }
}

#[tokio::test]
async fn a_session_outlives_the_death_of_its_heartbeats_connection() {
    let s = Scenario::new().await;
    let options = SessionOptions::default().interval(INTERVAL);
    let session = s.bmdb.start_session(options).await.unwrap();
    let deadline = format!(
        "SELECT session_deadline FROM sessions WHERE session_id = '{}'",
        session.id()
    );
    let heartbeats = "FROM pg_stat_activity
                   WHERE datname = current_database() AND pid <> pg_backend_pid()
                     AND query LIKE '%SET session_deadline = clock_timestamp()%'";
    until(&s.db, &format!("EXISTS (SELECT {heartbeats})")).await;
    let before = s.db.rows(&deadline).await.unwrap().remove(0);
    s.db.run_sql(&format!(
        "SELECT pg_terminate_backend(pid, 1000) {heartbeats}"
    ))
    .await
    .unwrap();
    // Longer than the lease would last without heartbeats after the connection's death.
    let outlived =
        format!("(SELECT ({deadline}) > timestamptz '{before}' + interval '1200 milliseconds')");
    until(&s.db, &outlived).await;
    assert_eq!(session.wait_while_suspect().await, SessionState::Live);
    session.close().await.unwrap();
}

#[tokio::test]
async fn a_session_is_suspect_and_then_lost_under_every_heartbeat_fault() {
    type Fault = fn(&Proxy);
    let faults: [(&str, Fault); 6] = [
        ("silence", |proxy| proxy.black_hole()),
        ("only requests vanish", |proxy| proxy.half_open()),
        ("answers come too late", |proxy| {
            proxy.delay(Duration::from_secs(3));
        }),
        ("connections are refused", |proxy| proxy.refuse()),
        ("connecting hangs", |proxy| {
            proxy.cut();
            proxy.black_hole();
        }),
        ("connecting hangs halfway", |proxy| {
            proxy.cut();
            proxy.half_open();
        }),
    ];
    let checks = faults.map(|(name, fault)| async move {
        let p = Faulty::new(1).await;
        p.is(SessionState::Live).await;
        fault(&p.proxy);
        p.is(SessionState::Suspect).await;
        p.is_lost_in_time(name).await;
    });
    futures_util::future::join_all(checks).await;
}

#[tokio::test]
async fn a_suspect_session_claims_nothing_and_can_end_its_work() {
    let p = Faulty::new(6).await;
    // Only the heartbeat is blocked: its row is locked, and operations with weaker locks go on.
    let mut operator = p.s.db.connect().await.unwrap();
    let lock = format!(
        "BEGIN; SELECT FROM sessions WHERE session_id = '{}' FOR NO KEY UPDATE",
        p.session.id()
    );
    operator.batch_execute(&lock).await.unwrap();
    p.is(SessionState::Suspect).await;

    let claimed = p.session.claim(&Claim::of(&START)).await;
    assert!(matches!(claimed, Err(TxError::Suspect)), "{claimed:?}");
    let started = work_on(&p.session, &ACCESS, p.free).await;
    assert!(matches!(started, Err(WorkError::Suspect)), "{started:?}");
    let mut poller = p
        .session
        .poller_with(&Claim::of(&START), PollOptions::default().listen(false));
    let polled = tokio::time::timeout(Duration::from_millis(50), poller.next(9)).await;
    assert!(polled.is_err(), "{polled:?}");

    let free = p.free;
    p.session
        .transact(async |tx| tx.hold(free, "while suspect").await)
        .await
        .unwrap();
    p.work.fail(&RETRY, "while suspect").await.unwrap();
    p.session
        .transact(async |tx| tx.release_hold(free).await)
        .await
        .unwrap();
    assert_eq!(p.session.state(), SessionState::Suspect);

    operator.batch_execute("ROLLBACK").await.unwrap();
    let settled = tokio::time::timeout(SOON, p.session.wait_while_suspect()).await;
    assert_eq!(settled.unwrap(), SessionState::Live);
    // The poller waited and did not fail.
    let polled = tokio::time::timeout(SOON, poller.next(9)).await;
    let machines: Vec<_> = polled.unwrap().unwrap().iter().map(Work::machine).collect();
    assert!(machines.contains(&free), "{machines:?}");
}

#[tokio::test]
async fn a_silence_shorter_than_the_lease_does_not_change_the_session() {
    let p = Faulty::new(6).await;
    p.proxy.black_hole();
    p.is(SessionState::Suspect).await;
    p.proxy.heal().unwrap();
    let settled = tokio::time::timeout(SOON, p.session.wait_while_suspect()).await;
    assert_eq!(settled.unwrap(), SessionState::Live);
    p.work.complete().await.unwrap();
    assert_eq!(p.session.claim(&Claim::of(&START)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_session_is_lost_in_time_when_the_database_falls_silent() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let proxy = Proxy::tcp(s.db.url()).await.unwrap();
    let bmdb = component_behind(&proxy).await;
    let options = SessionOptions::default().interval(INTERVAL);
    let session = bmdb.start_session(options).await.unwrap();
    let work = work_on(&session, &ACCESS, machine).await.unwrap();

    proxy.black_hole();
    let lost = async { tokio::join!(session.lost(), work.lost()) };
    tokio::time::timeout(SOON, lost).await.expect("in time");
    assert_eq!(session.state(), SessionState::Lost);
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START);
    let refused = tokio::time::timeout(Duration::from_millis(100), session.claim(&claim)).await;
    assert!(matches!(refused, Ok(Err(TxError::SessionExpired))));

    proxy.heal().unwrap();
    assert_eq!(session.state(), SessionState::Lost, "it never comes back");
    let expired = format!(
        "EXISTS (SELECT FROM sessions
                 WHERE session_id = '{}' AND session_deadline < clock_timestamp())",
        session.id()
    );
    until(&s.db, &expired).await;
    assert_eq!(session.state(), SessionState::Lost, "nor later");
    let losses = s.bmdb.reclaim_expired().await.unwrap();
    assert_eq!(losses.attempts.len(), 1);
    assert_eq!(losses.attempts[0].fence, work.fence());
}
