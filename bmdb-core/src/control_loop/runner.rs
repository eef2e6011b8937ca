//! Running a control loop, session after session, until it is told to leave.

use super::ControlLoop;
use super::attempt::Done;
use super::claiming::Until;
use super::event::{Event, Summary};
use super::options::LoopOptions;
use super::shutdown::Shutdown;
use crate::bmdb::Bmdb;
use crate::db::retry::Delays;
use crate::error::{SessionError, TxError};
use crate::session::Session;
use crate::work::rate_limiter::Pace;
use bmdb_model::{MachineId, Process};
use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Between sessions, and between tries to start one.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Why a loop ended that nobody has told to leave. What it was working on has ended by then, as at a
/// shutdown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoopError {
    /// Options under which nothing would work.
    #[error("{field}: {problem}")]
    InvalidOptions {
        /// The field of [`LoopOptions`].
        field: &'static str,
        /// What is wrong, and what would be right.
        problem: &'static str,
    },
    /// No session can be started, and not only for now.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// No machine is ever due for a process that nobody has given a workflow: is it misspelt, or its
    /// migration missing?
    #[error(
        "the process {process} has no workflow, so no machine is ever due for it: is it misspelt, or \
         not defined in this database yet?"
    )]
    NoWorkflow {
        /// The process.
        process: Process,
    },
    /// No machine can be claimed, and not only for now.
    #[error("claiming machines: {0}")]
    Claim(#[from] TxError),
}

/// Runs a control loop: claims what is due, works on several machines at once, records how each ended,
/// and starts a new session when one is lost.
#[derive(Debug)]
pub struct Runner<L> {
    bmdb: Bmdb,
    control: Arc<L>,
    options: LoopOptions,
}

impl<L: ControlLoop> Runner<L> {
    /// A runner with default options.
    #[must_use]
    pub fn new(bmdb: &Bmdb, control: L) -> Self {
        Self {
            bmdb: bmdb.clone(),
            control: Arc::new(control),
            options: LoopOptions::default(),
        }
    }

    /// The same with other options.
    #[must_use]
    pub fn options(self, options: LoopOptions) -> Self {
        Self { options, ..self }
    }

    /// Runs the loop until `shutdown` begins, or, with [`LoopOptions::once`], until nothing is left to
    /// do.
    ///
    /// While the database is away, the loop waits for it. A session that is lost is followed by
    /// another one, and whoever works under the lost one is told to stop. Draining the component
    /// ([`Bmdb::drain`]) is a shutdown as well.
    ///
    /// At a shutdown nothing more is claimed; what runs may take [`LoopOptions::drain_limit`], then it
    /// is told to stop, dropped after [`LoopOptions::grace`], and given back. Comes back at the latest
    /// [`Config::connect_timeout`](crate::Config::connect_timeout) after that, whatever the database does.
    ///
    /// Cancellation: what runs is dropped, and its machines are given back in the background.
    ///
    /// # Errors
    /// [`LoopError`] for what would not pass by itself, such as a process without a workflow.
    pub async fn run(self, shutdown: Shutdown) -> Result<Summary, LoopError> {
        let at_least_one = |field, value: u32| {
            let problem = "0 machines are not enough for anything to be done; at least 1";
            let error = LoopError::InvalidOptions { field, problem };
            if value == 0 { Err(error) } else { Ok(()) }
        };
        at_least_one("parallelism", self.options.parallelism)?;
        at_least_one("batch", self.options.batch)?;
        let mut run = Run {
            pace: self.options.rate.map(|rate| Arc::new(Pace::new(rate))),
            bmdb: self.bmdb,
            control: self.control,
            options: Arc::new(self.options),
            shutdown,
            hurry: CancellationToken::new(),
            running: JoinSet::new(),
            undecided: JoinSet::new(),
            give_back: CancellationToken::new(),
            seen: HashSet::new(),
            summary: Summary::default(),
        };
        let mut session = None;
        let ran = run.until_told_to_leave(&mut session).await;
        run.leave(session).await;
        ran.map(|()| run.summary)
    }
}

/// A loop that runs.
pub(super) struct Run<L> {
    pub(super) bmdb: Bmdb,
    pub(super) control: Arc<L>,
    pub(super) options: Arc<LoopOptions>,
    pub(super) shutdown: Shutdown,
    pub(super) pace: Option<Arc<Pace>>,
    /// Tells what is worked on to stop.
    pub(super) hurry: CancellationToken,
    /// The machines that are worked on, under whichever session.
    pub(super) running: JoinSet<Done>,
    /// Those that came to no verdict, until they are given back.
    pub(super) undecided: JoinSet<()>,
    /// Gives these back now.
    pub(super) give_back: CancellationToken,
    /// Which machines were worked on, where each is to be only once.
    pub(super) seen: HashSet<MachineId>,
    pub(super) summary: Summary,
}

impl<L: ControlLoop> Run<L> {
    /// Leaves the session that the loop had last in `last`.
    async fn until_told_to_leave(&mut self, last: &mut Option<Session>) -> Result<(), LoopError> {
        let mut delays = Delays::new(FIRST_DELAY, LONGEST_DELAY);
        loop {
            let Some(session) = self.start_session(&mut delays).await? else {
                return Ok(());
            };
            let began = Instant::now();
            let worked = self.work_in(&session).await;
            let until = match worked {
                Ok(until) => until,
                Err(error) => {
                    *last = Some(session);
                    return Err(error);
                }
            };
            if until == Until::ToldToLeave {
                *last = Some(session);
                return Ok(());
            }
            self.control.on_event(&Event::SessionLost {
                session: session.id(),
            });
            // Sessions that never last are not to be started in a hurry.
            if began.elapsed() > self.options.session.interval {
                delays.restart();
            }
            drop(session);
            let delay = delays.next();
            if self.meanwhile(tokio::time::sleep(delay)).await.is_none() {
                return Ok(());
            }
        }
    }

    /// `None` at a shutdown.
    async fn start_session(&mut self, delays: &mut Delays) -> Result<Option<Session>, LoopError> {
        loop {
            let (bmdb, options) = (self.bmdb.clone(), self.options.session);
            let error = match self.meanwhile(bmdb.start_session(options)).await {
                None => return Ok(None),
                Some(Ok(session)) => {
                    self.summary.sessions += 1;
                    self.control.on_event(&Event::SessionStarted {
                        session: session.id(),
                    });
                    return Ok(Some(session));
                }
                Some(Err(SessionError::Transaction(TxError::Draining))) => return Ok(None),
                Some(Err(error)) => error,
            };
            match &error {
                SessionError::Transaction(reason) if reason.may_pass() => {}
                _ => return Err(error.into()),
            }
            let delay = delays.next();
            self.control.on_event(&Event::Waiting {
                error: &error,
                delay,
            });
            if self.meanwhile(tokio::time::sleep(delay)).await.is_none() {
                return Ok(None);
            }
        }
    }

    /// Waits for something, and counts what ends until then; `None` at a shutdown.
    pub(super) async fn meanwhile<T>(&mut self, wait: impl Future<Output = T>) -> Option<T> {
        let mut wait = pin!(wait);
        let draining = self.shutdown.draining().clone();
        loop {
            tokio::select! {
                biased;
                () = draining.cancelled() => return None,
                Some(done) = self.running.join_next() => self.count(done),
                value = &mut wait => return Some(value),
            }
        }
    }

    pub(super) fn count(&mut self, done: Result<Done, JoinError>) {
        match done {
            Ok(Done { outcome, undecided }) => {
                self.summary.count(&outcome);
                if let Some(work) = undecided {
                    self.keep_a_while(work);
                }
            }
            // Only what `on_event` does can panic there. The work was given back by its drop.
            Err(error) => {
                tracing::error!(%error, "a control loop's event handler failed");
                self.summary.canceled += 1;
            }
        }
    }
}
