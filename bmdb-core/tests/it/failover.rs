//! Fail-over: the primary dies, its synchronous standby takes over, and components whose URL names both
//! continue.

use crate::control_loop::{Does, Running, options as loop_options};
use crate::dedicated_server;
use crate::scenario::RETRY;
use bmdb_core::control_loop::Commit;
use bmdb_core::{
    Bmdb, Claim, Config, EndError, HistoryDetail, Reader, Session, SessionOptions, TxError, Work,
};
use bmdb_model::history::Outcome;
use bmdb_model::{AgentStarted, ErrorKind, Fence, MachineId, Process, Provided, Provider};
use bmdb_testkit::audit::{End, Rules, audit};
use bmdb_testkit::{Profile, Replication, Server, TestDb};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::{Instant, sleep};

const START: Process = Process::SHEPHERD_AGENT_START;
const LIMIT: Duration = Duration::from_secs(60);

/// A primary, its standby, and a database.
struct Pair {
    primary: Arc<Server>,
    standby: Server,
    db: TestDb,
}

impl Pair {
    async fn boot() -> Self {
        let primary = dedicated_server::server(Profile::Durable).await;
        let db = TestDb::on(&primary).await.unwrap();
        let standby = primary.standby(Replication::Synchronous).unwrap();
        Self {
            primary,
            standby,
            db,
        }
    }

    async fn connect(&self) -> Bmdb {
        let config = Config::new(self.db.url_with(&[&self.standby]))
            .component("failover")
            .history(HistoryDetail::Full)
            .retention(None);
        Bmdb::connect(config).await.unwrap()
    }

    fn fail_over(&self) {
        self.primary.kill9().unwrap();
        self.standby.promote().unwrap();
    }

    /// The URL of the database on the standby.
    fn url_of_standby(&self) -> String {
        let url = self.standby.url();
        url.replacen("/postgres?", &format!("/{}?", self.db.name()), 1)
    }

    async fn on_standby(&self, query: &str) -> String {
        let url = self.url_of_standby();
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
            .await
            .unwrap();
        tokio::spawn(connection);
        client.query_one(query, &[]).await.unwrap().get(0)
    }
}

async fn make_fleet(session: &Session, machines: u32) {
    let made = session.transact(async |tx| {
        for number in 0..machines {
            let machine = tx.create_machine().await?;
            let provided = Provided::new(Provider::EQUINIX, number.to_string());
            tx.set_provided(machine, &provided).await?;
        }
        Ok(())
    });
    made.await.unwrap();
}

/// The answers of the database to the workers.
#[derive(Debug, Default)]
struct Answers {
    claimed: Vec<(MachineId, Fence)>,
    acknowledged: Vec<End>,
    refused: Vec<End>,
}

/// The state that the workers of a test share.
#[derive(Debug, Default)]
struct Log {
    answers: Mutex<Answers>,
    is_over: AtomicBool,
}

impl Log {
    fn acknowledged(&self) -> usize {
        self.answers.lock().unwrap().acknowledged.len()
    }

    async fn wait_for(&self, ends: usize) {
        let began = Instant::now();
        while self.acknowledged() < ends {
            assert!(began.elapsed() < LIMIT, "no {ends} ends: {self:?}");
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn end(&self, work: (MachineId, Fence), outcome: Outcome, ended: Result<(), EndError>) {
        let end = (work.0, work.1, outcome);
        let mut answers = self.answers.lock().unwrap();
        match ended {
            Ok(()) => answers.acknowledged.push(end),
            Err(error) => {
                check_legal(error.reason());
                let (reason, work) = error.into_parts();
                let is_gone = matches!(reason, TxError::SessionExpired | TxError::WorkLost);
                // Dropped work is canceled in the background.
                if work.is_none() && is_gone && outcome != Outcome::Canceled {
                    answers.refused.push(end);
                }
            }
        }
    }
}

/// Accepts only errors that a fail-over can cause.
fn check_legal(error: &TxError) {
    match error {
        TxError::Database(error) => {
            assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
        }
        TxError::Invalid { .. } | TxError::Aborted(_) | TxError::Draining => panic!("{error}"),
        _ => {}
    }
}

/// Claims machines and ends the attempts in turn by finish, fail and cancel, until the test is over.
async fn work(bmdb: Bmdb, lease: Duration, log: Arc<Log>) {
    let options = SessionOptions::default().interval(lease);
    while !log.is_over.load(Ordering::Relaxed) {
        let Ok(session) = bmdb.start_session(options).await else {
            sleep(Duration::from_millis(20)).await;
            continue;
        };
        while !log.is_over.load(Ordering::Relaxed) {
            match session.claim(&Claim::of(&START).limit(2)).await {
                Ok(claimed) => end_all(claimed, &log).await,
                Err(TxError::SessionExpired) => break,
                Err(error) => check_legal(&error),
            }
            sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn end_all(claimed: Vec<Work>, log: &Log) {
    for work in claimed {
        let claim = (work.machine(), work.fence());
        log.answers.lock().unwrap().claimed.push(claim);
        let (outcome, ended) = match work.fence().get() % 3 {
            0 => (
                Outcome::Failed,
                work.fail(&RETRY, "no answer").await.map(drop),
            ),
            1 => (Outcome::Canceled, work.cancel().await),
            _ => (Outcome::Finished, work.complete().await),
        };
        log.end(claim, outcome, ended);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_ends_survive_a_fail_over_and_no_machine_is_claimed_twice() {
    let pair = Pair::boot().await;
    let log = Arc::new(Log::default());
    let mut components = Vec::new();
    let mut workers = Vec::new();
    // Leases that may run out during a fail-over, and leases that outlast it.
    for lease in [1, 30].map(Duration::from_secs) {
        let bmdb = pair.connect().await;
        workers.extend((0..3).map(|_| tokio::spawn(work(bmdb.clone(), lease, log.clone()))));
        components.push(bmdb);
    }
    let session = components[1].start_session(SessionOptions::default());
    make_fleet(&session.await.unwrap(), 60).await;

    log.wait_for(100).await;
    pair.fail_over();
    log.wait_for(log.acknowledged() + 100).await;

    log.is_over.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
    for bmdb in components {
        bmdb.reclaim_expired().await.unwrap();
        bmdb.drain(Duration::from_secs(5)).await.unwrap();
    }
    let claimed = pair.on_standby("SELECT count(*)::text FROM work").await;
    assert_eq!(claimed, "0");
    let mut rules = Rules::new(RETRY);
    let answers = std::mem::take(&mut *log.answers.lock().unwrap());
    rules.claimed = Some(answers.claimed);
    rules.acknowledged = answers.acknowledged;
    rules.refused = answers.refused;
    let audit = audit(&pair.url_of_standby(), &rules).await.unwrap();
    assert!(audit.is_clean(), "{audit}");
    assert!(audit.attempts >= 200, "{audit}");
}

#[tokio::test(flavor = "multi_thread")]
async fn work_claimed_before_a_fail_over_is_finished_on_the_new_primary() {
    let pair = Pair::boot().await;
    let bmdb = pair.connect().await;
    let options = SessionOptions::default().interval(Duration::from_secs(60));
    let session = bmdb.start_session(options).await.unwrap();
    make_fleet(&session, 1).await;
    let work = session.claim(&Claim::of(&START)).await.unwrap().remove(0);
    let machine = work.machine();
    pair.fail_over();

    let mut claimed = Some(work);
    let began = Instant::now();
    while let Some(work) = claimed.take() {
        assert!(began.elapsed() < LIMIT, "it is still claimed");
        let finish = work.finish(async |tx| {
            tx.set_agent_started(machine, &AgentStarted::now(b"key"))
                .await
        });
        // Each of the old connections is broken and may report that once.
        if let Err(error) = finish.await {
            check_legal(error.reason());
            claimed = error.into_work();
            assert!(claimed.is_some(), "the lease is a minute long");
        }
    }
    let outcomes = "SELECT string_agg(outcome, ' ') FROM work_attempt
                    JOIN machine_agent_started USING (machine_id)";
    assert_eq!(pair.on_standby(outcomes).await, "Finished");
    session.close().await.unwrap();
}

/// The documents recommend an address that moves with the primary. It moved to the standby before that was
/// promoted, and every loop ended there.
#[tokio::test(flavor = "multi_thread")]
async fn a_loop_waits_at_an_address_that_moves_before_the_promotion() {
    let pair = Pair::boot().await;
    let address = std::env::temp_dir().join(format!("bmdb-address-{}", MachineId::random()));
    let move_to = |server: &Server| {
        let _ = std::fs::remove_file(&address);
        std::os::unix::fs::symlink(server.folder().unwrap(), &address).unwrap();
    };
    move_to(&pair.primary);
    let folder = pair.primary.folder().unwrap().to_str().unwrap();
    let url = pair.db.url().replace(folder, address.to_str().unwrap());
    let config = Config::new(url).component("address").retention(None);
    let bmdb = Bmdb::connect(config).await.unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    make_fleet(&session, 1).await;

    let does =
        Does::new(|_, _| Box::pin(async { Ok(Commit::agent_started(AgentStarted::now(b"key"))) }));
    let running = Running::new(&bmdb, does, loop_options());
    let finished = "Finished { rest: None }";
    running.logs(finished, 1).await;

    pair.primary.kill9().unwrap();
    move_to(&pair.standby);
    // Long enough for claims and heartbeats that meet the standby.
    sleep(Duration::from_secs(3)).await;
    pair.standby.promote().unwrap();
    let began = Instant::now();
    while session
        .transact(async |tx| {
            let machine = tx.create_machine().await?;
            let provided = Provided::new(Provider::EQUINIX, "after");
            tx.set_provided(machine, &provided).await
        })
        .await
        .is_err()
    {
        assert!(began.elapsed() < LIMIT);
        sleep(Duration::from_millis(50)).await;
    }
    running.logs(finished, 2).await;
    running.stop().await;
    std::fs::remove_file(&address).unwrap();
}

/// The cluster's default was SERIALIZABLE, which a standby refuses with every statement: the console never
/// connected to one.
#[tokio::test(flavor = "multi_thread")]
async fn a_reader_works_on_a_standby_whose_default_is_serializable() {
    let pair = Pair::boot().await;
    let name = pair.db.name();
    let set =
        format!("ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable'");
    pair.db.run_sql(&set).await.unwrap();
    let reader = Reader::connect(Config::new(pair.url_of_standby()))
        .await
        .unwrap();
    let counted = reader.read(async |conn| Ok(bmdb_model::counts::fleet(conn).await?));
    assert_eq!(counted.await.unwrap().machines, 0);
}
