//! Environment of operations that are dropped, and the invariants of the database after each drop.

use crate::wait::until;
use bmdb_core::{Bmdb, Claim, Config, Session, SessionOptions, Work};
use bmdb_model::{MachineId, Process, Provided, Provider};
use bmdb_testkit::TestDb;
use std::error::Error;
use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

pub(super) const START: Process = Process::SHEPHERD_AGENT_START;
pub(super) const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

/// More polls than any operation here needs.
pub(super) const MANY: usize = 500;

/// How many connections the component under test may have: a pool of two, and one each for the
/// heartbeat, the cleanup and the listener.
const CONNECTIONS: usize = 2 + 3;

/// Only expired sessions have claims; no transaction is open, and nothing is locked.
pub(super) const QUIESCED: &str = "NOT EXISTS (
        SELECT FROM work_item JOIN sessions USING (session_id)
        WHERE session_deadline > clock_timestamp()) AND NOT EXISTS (
        SELECT FROM pg_stat_activity a
        WHERE datname = current_database() AND pid <> pg_backend_pid()
          AND (state <> 'idle' OR EXISTS (SELECT FROM pg_locks l WHERE l.pid = a.pid)))";

pub(super) type Done = Result<(), Box<dyn Error>>;

/// The result of a future that is dropped when it is woken for one poll more than `polls`.
pub(super) async fn polled<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut polls = polls;
    poll_fn(|context| {
        if polls == 0 {
            return Poll::Ready(None);
        }
        polls -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// A component with a session, and three machines that are due.
pub(super) struct Environment {
    pub(super) db: TestDb,
    pub(super) bmdb: Bmdb,
    pub(super) session: Session,
    pub(super) machines: Vec<MachineId>,
}

/// Whether an operation may leave sessions without heartbeats behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Orphans {
    No,
    Sessions,
}

impl Environment {
    async fn new() -> Self {
        let db = TestDb::new().await.unwrap();
        let bmdb = Bmdb::connect(config(&db)).await.unwrap();
        let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
        let made = session.transact(async |tx| {
            let mut machines = Vec::new();
            for id in ["1", "2", "3"] {
                let machine = tx.create_machine().await?;
                let provided = Provided::new(Provider::EQUINIX, id);
                tx.set_provided(machine, &provided).await?;
                machines.push(machine);
            }
            Ok(machines)
        });
        let machines = made.await.unwrap();
        Self {
            db,
            bmdb,
            session,
            machines,
        }
    }

    /// All three machines.
    pub(super) async fn claim_all(&self) -> Vec<Work> {
        let claim = Claim::of(&START).provider(&Provider::EQUINIX).limit(3);
        let claimed = self.session.claim(&claim).await.unwrap();
        assert_eq!(claimed.len(), 3);
        claimed
    }

    pub(super) async fn work(&self) -> Work {
        let claim = Claim::of(&START).provider(&Provider::EQUINIX);
        self.session.claim(&claim).await.unwrap().remove(0)
    }

    /// Another component, with a session that has claimed a machine.
    pub(super) async fn other_component(&self) -> (Bmdb, Session, Work) {
        let bmdb = Bmdb::connect(config(&self.db)).await.unwrap();
        let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
        let claim = Claim::of(&START).provider(&Provider::EQUINIX);
        let work = session.claim(&claim).await.unwrap().remove(0);
        (bmdb, session, work)
    }

    /// A session of a program that has died, with a claimed machine.
    pub(super) async fn lost_session(&self) {
        let session = self
            .db
            .session(std::time::Duration::from_secs(60))
            .await
            .unwrap();
        let mut conn = self.db.connect().await.unwrap();
        let claimed = bmdb_model::internal::work::claim(&mut conn, &START, None, session, 1).await;
        assert_eq!(claimed.unwrap().unwrap().len(), 1);
        self.db.expire(session).await.unwrap();
    }

    async fn check_quiesced(&self, orphans: Orphans) {
        until(&self.db, QUIESCED).await;
        let few = format!(
            "(SELECT count(*) <= {CONNECTIONS} FROM pg_stat_activity
              WHERE datname = current_database() AND pid <> pg_backend_pid())"
        );
        until(&self.db, &few).await;
        if orphans == Orphans::No {
            until(&self.db, "count(*) = 1 FROM sessions").await;
        }
    }

    /// Makes every machine due again.
    async fn reset(&self) {
        self.bmdb.reclaim_expired().await.unwrap();
        self.db
            .run_sql(
                "DELETE FROM machine_hold;
                 DELETE FROM machine_agent_heartbeat;
                 DELETE FROM machine_agent_started;
                 UPDATE work_item SET backoff_until = NULL, losses = 0, hold_reason = NULL, hold_since = NULL",
            )
            .await
            .unwrap();
        self.bmdb.replan().await.unwrap();
    }

    /// Sessions without heartbeats expire, and no connection outlives the handles.
    async fn check_end(self) {
        let orphans = format!(
            "UPDATE sessions SET session_deadline = clock_timestamp() - interval '1 second'
             WHERE session_id <> '{}'",
            self.session.id()
        );
        self.db.run_sql(&orphans).await.unwrap();
        self.bmdb.reclaim_expired().await.unwrap();
        until(&self.db, "count(*) = 1 FROM sessions").await;
        // The component can still claim after all these drops.
        for work in self.claim_all().await {
            work.cancel().await.unwrap();
        }
        self.session.close().await.unwrap();
        drop(self.bmdb);
        let no_connection = "NOT EXISTS (SELECT FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid())";
        until(&self.db, no_connection).await;
        until(&self.db, "count(*) = 0 FROM sessions").await;
    }
}

pub(super) fn config(db: &TestDb) -> Config {
    Config::new(db.url())
        .component("test")
        .pool_size(2)
        .janitor_interval(None)
}

/// Drops an operation at each of its polls in turn, until it completes, and checks the database after
/// each. Its preparation is not dropped.
pub(super) async fn check<P>(
    orphans: Orphans,
    prepare: impl AsyncFn(&Environment) -> P,
    operation: impl AsyncFn(&Environment, P) -> Done,
) {
    let environment = Environment::new().await;
    for polls in 0..MANY {
        let prepared = prepare(&environment).await;
        let done = polled(polls, operation(&environment, prepared)).await;
        environment.check_quiesced(orphans).await;
        match done {
            None => {}
            Some(Err(error)) => panic!("after {polls} drops: {error}: {error:?}"),
            Some(Ok(())) => {
                assert!(polls > 1, "the operation never waited");
                environment.reset().await;
                return environment.check_end().await;
            }
        }
        environment.reset().await;
    }
    panic!("the operation never completed");
}

/// The results of many, or the first error.
pub(super) fn all<T, E: Error + 'static>(results: Vec<Result<T, E>>) -> Done
where
    T: Debug,
{
    for result in results {
        result?;
    }
    Ok(())
}
