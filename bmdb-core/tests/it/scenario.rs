//! Scenario: a database, a connected component and a session in it.

use crate::wait;
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_core::{Bmdb, Claim, Config, Session, SessionOptions, TxError, Work, WorkError};
use bmdb_model::backoff::BackoffRow;
use bmdb_model::{MachineId, Process, Provided, Provider, TagWrites, retrieval};
use bmdb_testkit::{Proxy, Role, TestDb};
use std::time::Duration;

/// The seed's policy: 1, 2, 4, 5, 5, … seconds.
pub(crate) const RETRY: Backoff = Backoff::exponential(
    Seconds::new(1).unwrap(),
    Seconds::new(5).unwrap(),
    Factor::from_int(2),
);

/// Removes all limits, breakers and pauses.
pub(crate) const WITHOUT_LIMITS: &str = "DELETE FROM process_pause; DELETE FROM process_breaker;
    DELETE FROM process_limit; DELETE FROM process_control";

pub(crate) struct Scenario {
    pub(crate) db: TestDb,
    pub(crate) bmdb: Bmdb,
    pub(crate) session: Session,
}

impl Scenario {
    pub(crate) async fn new() -> Self {
        Self::on(TestDb::new().await.unwrap()).await
    }

    /// Without the shipped limits of recovery, which are not what most tests are about.
    pub(crate) async fn on(db: TestDb) -> Self {
        db.run_sql(WITHOUT_LIMITS).await.unwrap();
        Self::with_limits(db).await
    }

    /// With the limits, breakers and pauses that the database has.
    pub(crate) async fn with_limits(db: TestDb) -> Self {
        let bmdb = connect(&db).await;
        let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
        Self { db, bmdb, session }
    }

    /// A connected owner of the installation, who may define processes.
    pub(crate) async fn owner(&self) -> Bmdb {
        owner(&self.db).await
    }

    /// Makes a view as its migration would: it belongs to the owner, and every role may read it.
    pub(crate) async fn create_view(&self, sql: &str) {
        self.owner().await;
        let as_owner = format!("SET ROLE bmdb_owner; {sql}");
        self.db.run_sql(&as_owner).await.unwrap();
    }

    /// Makes the database refuse failures with this cause.
    pub(crate) async fn refuse_cause(&self, cause: &str) {
        let check =
            format!("ALTER TABLE work_attempt ADD CONSTRAINT refused CHECK (cause <> '{cause}')");
        self.db.run_sql(&check).await.unwrap();
    }

    /// Another session of the same component.
    pub(crate) async fn another_session(&self) -> Session {
        self.bmdb
            .start_session(SessionOptions::default())
            .await
            .unwrap()
    }

    /// A machine of Equinix with this id there.
    pub(crate) async fn provided(&self, provider_id: &str) -> MachineId {
        self.session
            .transact(async |tx| {
                let machine = tx.create_machine().await?;
                tx.set_provided(machine, &Provided::new(Provider::EQUINIX, provider_id))
                    .await?;
                Ok(machine)
            })
            .await
            .unwrap()
    }

    /// Machines of Equinix, whose ids there count from 0.
    #[cfg(feature = "fleet")]
    pub(crate) async fn import(&self, machines: usize) {
        let rows: Vec<String> = (0..machines)
            .map(|id| format!(r#"{{"provider": "Equinix", "provider_id": "{id}"}}"#))
            .collect();
        let fleet = format!(r#"{{"machines": [{}]}}"#, rows.join(","));
        let fleet = bmdb_core::fleet::Fleet::parse(&fleet).unwrap();
        let imported = self
            .session
            .transact(async |tx| tx.import_fleet(&fleet).await.map(drop));
        imported.await.unwrap();
    }

    pub(crate) async fn backoff(
        &self,
        machine: MachineId,
        process: &Process,
    ) -> Option<BackoffRow> {
        let mut conn = self.db.connect().await.unwrap();
        bmdb_model::backoff::of(&mut conn, machine, process)
            .await
            .unwrap()
    }

    /// Machines that the agent-start retrieval returns for `process` now.
    pub(crate) async fn listed(&self, process: &Process) -> Vec<MachineId> {
        self.session
            .transact(async |tx| {
                let due = retrieval::for_agent_start(tx, process, None, 100).await?;
                Ok(due.into_iter().map(|p| p.machine_id).collect())
            })
            .await
            .unwrap()
    }

    /// Work on the only machine that is due for agent start.
    pub(crate) async fn claim_one(&self) -> Work {
        let claim = Claim::of(&Process::SHEPHERD_AGENT_START).limit(2);
        let mut claimed = self.session.claim(&claim).await.unwrap();
        assert_eq!(claimed.len(), 1, "exactly one machine is due");
        claimed.remove(0)
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        let time = Duration::from_secs(seconds);
        self.db.advance(time).await.unwrap();
    }

    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        self.db.rows(sql).await.unwrap()
    }
}

/// A member of the owner's role, which may migrate and define processes.
pub(crate) async fn owner(db: &TestDb) -> Bmdb {
    let url = db.url_as(Role::Owner).await.unwrap();
    let config = Config::new(url).component("owner").janitor_interval(None);
    Bmdb::connect(config).await.unwrap()
}

/// A component without a janitor: tests that want one take its turns themselves.
pub(crate) async fn connect(db: &TestDb) -> Bmdb {
    let config = Config::new(db.url())
        .component("test")
        .janitor_interval(None);
    Bmdb::connect(config).await.unwrap()
}

/// A component with one connection behind a proxy that counts, and a session that has sent its first
/// heartbeat and sends no other during a test.
pub(crate) async fn counted(db: &TestDb) -> (Proxy, Bmdb, Session) {
    let began = db.rows("SELECT clock_timestamp()").await.unwrap().remove(0);
    let proxy = Proxy::unix(db.url()).await.unwrap();
    let config = Config::new(proxy.url()).component("counted").pool_size(1);
    // The component writes its attempt counts when it drains, and not while a test counts requests.
    let config = config.attempt_counts_interval(Some(Duration::from_secs(3600)));
    let bmdb = Bmdb::connect(config.janitor_interval(None)).await.unwrap();
    let quiet = SessionOptions::default().interval(Duration::from_secs(86_400));
    let session = bmdb.start_session(quiet).await.unwrap();
    let has_beaten = format!(
        "EXISTS (SELECT FROM pg_stat_activity
         WHERE datname = current_database() AND backend_start > '{began}' AND state = 'idle'
           AND query LIKE '%SET session_deadline = clock_timestamp()%')"
    );
    wait::until(db, &has_beaten).await;
    (proxy, bmdb, session)
}

/// Work under `ShepherdAccess` on a machine that needs its agent started, as the seed does it.
pub(crate) async fn work_access(session: &Session) -> Result<Work, WorkError> {
    session
        .work(&Process::SHEPHERD_ACCESS, async |tx| {
            let due = retrieval::for_agent_start(tx, &Process::SHEPHERD_ACCESS, None, 1).await?;
            Ok::<_, TxError>(due.into_iter().map(|p| p.machine_id).collect())
        })
        .await
}

/// Work on this machine, without further conditions.
pub(crate) async fn work_on(
    session: &Session,
    process: &Process,
    machine: MachineId,
) -> Result<Work, WorkError> {
    session.work(process, async |_| Ok(vec![machine])).await
}

/// Shows that the machine can be worked on, and leaves it as it was.
pub(crate) async fn work_and_give_back(session: &Session, process: &Process, machine: MachineId) {
    let work = work_on(session, process, machine).await.unwrap();
    work.cancel().await.unwrap();
}

/// Finishes that write nothing, for [`Session::finish_all`].
pub(crate) fn unwritten(
    claimed: impl IntoIterator<Item = Work>,
) -> impl Iterator<Item = (Work, TagWrites)> {
    let unwritten = |work| (work, TagWrites::new());
    claimed.into_iter().map(unwritten)
}
