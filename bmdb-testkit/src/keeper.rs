//! The keeper: one thread and one connection per process and server that tell other processes that
//! this one lives, drop its databases off the tests' path, and sweep those of dead processes.
//!
//! A test process may end before its last drop has run (under nextest nearly every one does), and
//! can be killed at any time. So a database's name carries the run that made it, and the keeper's
//! connection carries it too, as its application name: a database whose run has no connection is
//! nobody's. Unlike a process id this holds across containers and hosts that share a server.

use crate::TestkitError;
use crate::error::with_detail;
use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_postgres::{Client, Config, NoTls};

/// The start of every test database's name; then the run, and a number.
const PREFIX: &str = "bmdb_test_";
const RUN_LENGTH: usize = 12;
/// Marks a failed test's database, which nobody sweeps.
const KEPT: &str = "kept: its test failed";

const STALE: &str = "
    SELECT d.datname FROM pg_database d
    WHERE d.datname ~ '^bmdb_test_[0-9a-f]{12}_[0-9]+$'
      AND shobj_description(d.oid, 'pg_database') IS DISTINCT FROM $1
      AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a
                      WHERE a.application_name = 'bmdb-testkit ' || substr(d.datname, 11, 12))";

#[derive(Debug)]
pub(crate) struct Keeper {
    config: Option<Config>,
    run: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    jobs: Option<UnboundedSender<Job>>,
    databases: u64,
}

#[derive(Debug)]
enum Job {
    Drop(String),
    Keep(String, std::sync::mpsc::Sender<()>),
}

impl Keeper {
    pub(crate) fn of(url: &str) -> Self {
        let mut run = uuid::Uuid::new_v4().simple().to_string();
        run.truncate(RUN_LENGTH);
        Self {
            config: url.parse().ok(),
            run,
            state: Mutex::default(),
        }
    }

    /// A name for a new database, which no other process's sweep will touch. Blocks at the first
    /// call, until the keeper's connection is there.
    pub(crate) fn new_name(&self) -> Result<String, TestkitError> {
        let mut state = self.lock();
        if state.jobs.is_none() {
            state.jobs = Some(self.start()?);
        }
        state.databases += 1;
        Ok(format!("{PREFIX}{}_{}", self.run, state.databases))
    }

    /// Drops a database of ours in the background.
    pub(crate) fn drop_database(&self, name: String) {
        self.send(Job::Drop(name));
    }

    /// Marks a database of ours so that nobody sweeps it. Waits, since the process is about to end.
    pub(crate) fn keep_database(&self, name: String) {
        let (done, kept) = std::sync::mpsc::channel();
        self.send(Job::Keep(name, done));
        // Whether it was marked or not, there is nothing more to do about it in a failing test.
        let _ = kept.recv_timeout(Duration::from_secs(2));
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.lock().jobs {
            // A keeper that has lost its server has nothing left to drop.
            let _ = jobs.send(job);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn start(&self) -> Result<UnboundedSender<Job>, TestkitError> {
        let mut config = self.config.clone().unwrap_or_default();
        config.application_name(format!("bmdb-testkit {}", self.run));
        let (jobs, inbox) = unbounded_channel();
        let (ready, connected) = std::sync::mpsc::channel();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => {
                    return drop(ready.send(Err(TestkitError::boot("the keeper", error))));
                }
            };
            runtime.block_on(async {
                match connect(&config).await {
                    Ok(client) => {
                        // The receiver waits below until it has heard.
                        let _ = ready.send(Ok(()));
                        keep(&client, inbox).await;
                    }
                    Err(error) => {
                        let reason = with_detail(&error);
                        drop(ready.send(Err(TestkitError::WrongUrl { reason })));
                    }
                }
            });
        };
        thread::Builder::new()
            .name("bmdb-testkit".to_owned())
            .spawn(work)
            .map_err(|error| TestkitError::boot("starting the keeper's thread", error))?;
        connected
            .recv()
            .map_err(|error| TestkitError::boot("the keeper", error))?
            .map(|()| jobs)
    }
}

/// Connects and drives the connection on the current runtime.
pub(crate) async fn connect(config: &Config) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = config.connect(NoTls).await?;
    tokio::spawn(async move {
        // The client's next call reports it.
        let _ = connection.await;
    });
    Ok(client)
}

/// Works until the server is gone; every failure to drop leaves a database to the next sweep.
async fn keep(client: &Client, mut inbox: UnboundedReceiver<Job>) {
    let mut stale: VecDeque<String> = client
        .query(STALE, &[&KEPT])
        .await
        .unwrap_or_default()
        .iter()
        .map(|row| row.get(0))
        .collect();
    loop {
        let job = if stale.is_empty() {
            inbox.recv().await
        } else {
            inbox.try_recv().ok()
        };
        match job {
            Some(Job::Drop(name)) => {
                let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                let _ = client.batch_execute(&sql).await;
            }
            Some(Job::Keep(name, done)) => {
                let sql = format!("COMMENT ON DATABASE {name} IS '{KEPT}'");
                let _ = client.batch_execute(&sql).await;
                let _ = done.send(());
            }
            // Without FORCE: should anybody be connected after all, it stays.
            None => match stale.pop_front() {
                Some(name) => {
                    let sql = format!("DROP DATABASE IF EXISTS {name}");
                    let _ = client.batch_execute(&sql).await;
                }
                None => return,
            },
        }
    }
}
