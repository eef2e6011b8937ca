//! A scenario: a database, a connection to it and a session.

use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::connection;
use bmdb_model::internal::work::{self, Attempt, Claimed, Ended, FailedAttempt, Rest};
use bmdb_model::{
    Error, MachineId, Process, ProcessDef, Provider, SessionId, machine, plan, process,
};
use bmdb_testkit::TestDb;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::time::Duration;

pub(crate) const START: Process = Process::SHEPHERD_AGENT_START;
pub(crate) const ACCESS: Process = Process::SHEPHERD_ACCESS;
pub(crate) const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

pub(crate) struct Scenario {
    pub(crate) db: TestDb,
    pub(crate) conn: AsyncPgConnection,
    pub(crate) session: SessionId,
}

impl Scenario {
    pub(crate) async fn new() -> Self {
        Self::on(TestDb::new().await.unwrap()).await
    }

    /// Defines a process as its owner does: components may not.
    pub(crate) async fn define(&mut self, definition: &ProcessDef) -> Result<(), Error> {
        let mut owner = self.db.connect().await.unwrap();
        process::define(&mut owner, definition).await
    }

    /// Without the shipped limits of recovery, which are not what most tests are about.
    pub(crate) async fn on(db: TestDb) -> Self {
        let without_limits = "DO $$ BEGIN
            IF to_regclass('process_control') IS NOT NULL THEN
                DELETE FROM process_breaker; DELETE FROM process_limit; DELETE FROM process_control;
            END IF;
        END $$";
        db.run_sql(without_limits).await.unwrap();
        let conn = AsyncPgConnection::establish(db.url()).await.unwrap();
        let session = db.session(60 * MINUTE).await.unwrap();
        Self { db, conn, session }
    }

    /// A machine of Equinix with this id there, planned.
    pub(crate) async fn provided(&self, id: &str) -> MachineId {
        let machine = self.db.machine().provided(&Provider::EQUINIX, id).planned();
        machine.create().await.unwrap()
    }

    pub(crate) async fn another_session(&self) -> SessionId {
        self.db.session(60 * MINUTE).await.unwrap()
    }

    /// Writes tags as a component does: touch, write, plan, in one transaction.
    pub(crate) async fn write<T>(
        &mut self,
        machine: MachineId,
        write: impl AsyncFnOnce(&mut AsyncPgConnection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let conn = &mut self.conn;
        connection::begin(conn, Isolation::ReadCommitted, Access::ReadWrite).await?;
        let written = async {
            machine::touch(conn, &[machine]).await?;
            let value = write(conn).await?;
            plan::replan(conn, &[machine]).await?;
            Ok(value)
        }
        .await;
        match written {
            Ok(_) => connection::commit(conn).await?,
            Err(_) => connection::roll_back(conn).await?,
        }
        written
    }

    /// All machines that are due, of any provider.
    pub(crate) async fn claim(&mut self, process: &Process) -> Vec<Attempt> {
        let session = self.session;
        let claimed = work::claim(&mut self.conn, process, None, session, 100).await;
        let claimed = claimed.unwrap().expect("the session lives");
        let attempts = claimed
            .iter()
            .map(|claimed| attempt(claimed, process, session));
        attempts.collect()
    }

    /// The only machine that is due.
    pub(crate) async fn claim_one(&mut self, process: &Process) -> Attempt {
        let mut attempts = self.claim(process).await;
        assert_eq!(
            attempts.len(),
            1,
            "exactly one machine is due for {process}"
        );
        attempts.remove(0)
    }

    /// Work on just this machine, whatever its gates say.
    pub(crate) async fn claim_machine(&mut self, machine: MachineId, process: &Process) -> Attempt {
        let session = self.session;
        let claimed = work::claim_machine(&mut self.conn, machine, process, session).await;
        attempt(
            &claimed.unwrap().expect("another claim was faster"),
            process,
            session,
        )
    }

    pub(crate) async fn fail(&mut self, attempt: &Attempt, seconds: u32, cause: &str) {
        let failed = failed(seconds, cause);
        let ended = work::fail(&mut self.conn, attempt, &failed).await.unwrap();
        assert!(matches!(ended, Ended::Done(_)), "{ended:?}");
    }

    pub(crate) async fn finish(&mut self, attempt: &Attempt) {
        self.finish_judged(attempt).await;
    }

    /// Returns the rest that the finish begins.
    pub(crate) async fn finish_judged(&mut self, attempt: &Attempt) -> Option<Rest> {
        match work::finish(&mut self.conn, attempt).await.unwrap() {
            Ended::Done(rest) => rest,
            ended => panic!("{ended:?}"),
        }
    }

    pub(crate) async fn cancel(&mut self, attempt: &Attempt) {
        let ended = work::cancel(&mut self.conn, attempt).await.unwrap();
        assert_eq!(ended, Ended::Done(()));
    }

    pub(crate) async fn advance(&self, seconds: u64) {
        let time = Duration::from_secs(seconds);
        self.db.advance(time).await.unwrap();
    }

    pub(crate) async fn rows(&self, sql: &str) -> Vec<String> {
        self.db.rows(sql).await.unwrap()
    }
}

pub(crate) fn attempt(claimed: &Claimed, process: &Process, session: SessionId) -> Attempt {
    Attempt {
        machine: claimed.machine,
        process: process.clone(),
        session,
        fence: claimed.fence,
        started_at: claimed.started_at,
    }
}

/// A failure whose delay is its interval, folded into one just like it.
pub(crate) fn failed(seconds: u32, cause: &str) -> FailedAttempt<'_> {
    FailedAttempt {
        delay_seconds: seconds,
        interval_seconds: seconds,
        cause,
        fold: true,
    }
}
