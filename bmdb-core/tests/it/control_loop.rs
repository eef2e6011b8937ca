//! Runner of control loops: attempts, sessions, limits and shutdown.

mod drain;
mod ends;
mod errors;
mod host;
mod limits;
mod lost;
mod pauses;
mod rest;

use crate::scenario::{RETRY, Scenario};
use bmdb_backoff::Backoff;
use bmdb_core::control_loop::{
    Commit, ControlLoop, Event, Failure, LoopError, LoopOptions, Machine, Outcome, Runner,
    Shutdown, Summary,
};
use bmdb_core::{Bmdb, Work};
use bmdb_model::{Process, Provider};
use futures_util::future::BoxFuture;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Processed = Result<Commit, Failure>;
type Act = Box<dyn for<'a> Fn(&'a Work, &'a Machine) -> BoxFuture<'a, Processed> + Send + Sync>;

/// Longer than any test takes.
const AGES: Duration = Duration::from_secs(3600);

/// A control loop that runs a closure for each machine, and keeps a log of its events.
pub(crate) struct Does {
    process: Process,
    act: Act,
    log: Log,
}

#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl Does {
    pub(crate) fn new(
        act: impl for<'a> Fn(&'a Work, &'a Machine) -> BoxFuture<'a, Processed> + Send + Sync + 'static,
    ) -> Self {
        Self {
            process: Process::SHEPHERD_AGENT_START,
            act: Box::new(act),
            log: Log::default(),
        }
    }
}

impl ControlLoop for Does {
    fn workflow(&self) -> Process {
        self.process.clone()
    }

    fn providers(&self) -> Vec<Provider> {
        vec![Provider::EQUINIX, Provider::LUMEN]
    }

    fn backoff(&self) -> Backoff {
        RETRY
    }

    async fn process(&self, work: &Work, machine: &Machine) -> Processed {
        (self.act)(work, machine).await
    }

    fn on_event(&self, event: &Event<'_>) {
        let line = match event {
            Event::SessionStarted { .. } => "session started".to_owned(),
            Event::SessionLost { .. } => "session lost".to_owned(),
            Event::Waiting { .. } => "waiting".to_owned(),
            Event::Started { machine, .. } => format!("started attempt {}", machine.attempt),
            Event::Ended { outcome, .. } => match outcome {
                Outcome::Failed {
                    cause, put_on_hold, ..
                } => format!("failed: {cause}, put on hold: {put_on_hold}"),
                other => format!("{other:?}"),
            },
            Event::Draining { running, .. } => format!("draining {running}"),
            other => format!("{other:?}"),
        };
        self.log.0.lock().unwrap().push(line);
    }
}

/// Options under which tests end soon.
pub(crate) fn options() -> LoopOptions {
    let grace = Duration::from_millis(50);
    LoopOptions::default().grace(grace).drain_limit(AGES)
}

/// Processes what is due, once.
pub(crate) async fn once(bmdb: &Bmdb, does: Does) -> Result<Summary, LoopError> {
    let runner = Runner::new(bmdb, does).options(options().once(true));
    runner.run(Shutdown::new()).await
}

/// A loop that runs until [`Running::stop`].
pub(crate) struct Running {
    shutdown: Shutdown,
    log: Log,
    ran: tokio::task::JoinHandle<Result<Summary, LoopError>>,
}

impl Running {
    pub(crate) fn new(bmdb: &Bmdb, does: Does, options: LoopOptions) -> Self {
        let shutdown = Shutdown::new();
        let log = does.log.clone();
        let runner = Runner::new(bmdb, does).options(options);
        Self {
            ran: tokio::spawn(runner.run(shutdown.clone())),
            shutdown,
            log,
        }
    }

    /// Waits until the log has this line so many times.
    pub(crate) async fn logs(&self, line: &str, times: usize) {
        let count = || {
            self.log
                .lines()
                .iter()
                .filter(|logged| *logged == line)
                .count()
        };
        while count() < times {
            assert!(!self.ran.is_finished(), "{:?}", self.log.lines());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn started(&self, machines: usize) {
        self.logs("started attempt 1", machines).await;
    }

    pub(crate) async fn stop(self) -> Summary {
        self.shutdown.request();
        self.ended().await
    }

    async fn ended(self) -> Summary {
        let ended = tokio::time::timeout(Duration::from_secs(10), self.ran).await;
        ended.expect("the loop still runs").unwrap().unwrap()
    }
}

impl Scenario {
    pub(crate) async fn attempts(&self) -> Vec<String> {
        self.rows("SELECT outcome, cause, interval_seconds FROM work_attempt ORDER BY fence")
            .await
    }
}
