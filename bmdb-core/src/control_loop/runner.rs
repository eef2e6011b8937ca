//! Runner: runs a control loop, session after session, until a shutdown.

use super::ControlLoop;
use super::claiming::SessionEnd;
use super::error::LoopError;
use super::event::{Event, Summary};
use super::options::LoopOptions;
use super::run::Run;
use super::shutdown::Shutdown;
use crate::bmdb::Bmdb;
use crate::db::retry::Delays;
use crate::error::{SessionError, TxError};
use crate::session::Session;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Delays between sessions, and between tries to start one.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(10);

/// Runs a control loop: claims due machines, works on several machines at once, records how each ended,
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

    /// Runs the loop until `shutdown` is requested, or, with [`LoopOptions::once`], until nothing is
    /// due.
    ///
    /// While the database cannot be reached, the loop waits for it. When a session is lost, the attempts
    /// under it are stopped and the loop starts another session. Draining the component
    /// ([`Bmdb::drain`]) is a shutdown as well.
    ///
    /// At a shutdown, the loop claims nothing more. Attempts may continue for [`LoopOptions::drain_limit`];
    /// then they are asked to stop, dropped after [`LoopOptions::grace`], and their machines released.
    /// The method returns at the latest
    /// [`Config::connect_timeout`](crate::Config::connect_timeout) after that, even if the database hangs.
    ///
    /// Cancellation: attempts are dropped, and their machines released in the background.
    ///
    /// # Errors
    /// [`LoopError`] when waiting would not help, such as for a process without a workflow.
    pub async fn run(self, shutdown: Shutdown) -> Result<Summary, LoopError> {
        let LoopOptions {
            parallelism, batch, ..
        } = self.options;
        for (field, value) in [("parallelism", parallelism), ("batch", batch)] {
            if value == 0 {
                let problem = "must be at least 1";
                return Err(LoopError::InvalidOptions { field, problem });
            }
        }
        let mut run = Run::new(self.bmdb, self.control, self.options, shutdown);
        let mut session = None;
        let ran = run.run_sessions(&mut session).await;
        run.drain(session).await;
        ran.map(|()| run.summary)
    }
}

impl<L: ControlLoop> Run<L> {
    /// Leaves the loop's last session in `last`, unless it is lost.
    async fn run_sessions(&mut self, last: &mut Option<Session>) -> Result<(), LoopError> {
        let mut delays = Delays::new(FIRST_DELAY, LONGEST_DELAY);
        loop {
            let Some(session) = self.start_session(&mut delays).await? else {
                return Ok(());
            };
            let began = Instant::now();
            let worked = self.work_in(&session).await;
            if !matches!(worked, Ok(SessionEnd::Lost)) {
                *last = Some(session);
                return worked.map(|_| ());
            }
            self.control.on_event(&Event::SessionLost {
                session: session.id(),
            });
            // If sessions never last, the delay between them grows.
            if began.elapsed() > self.options.session.interval {
                delays.restart();
            }
            drop(session);
            let delay = delays.next();
            if self.wait_for(tokio::time::sleep(delay)).await.is_none() {
                return Ok(());
            }
        }
    }

    /// `None` at a shutdown.
    async fn start_session(&mut self, delays: &mut Delays) -> Result<Option<Session>, LoopError> {
        loop {
            let (bmdb, options) = (self.bmdb.clone(), self.options.session);
            let error = match self.wait_for(bmdb.start_session(options)).await {
                None | Some(Err(SessionError::Transaction(TxError::Draining))) => return Ok(None),
                Some(Ok(session)) => {
                    self.summary.sessions += 1;
                    self.control.on_event(&Event::SessionStarted {
                        session: session.id(),
                    });
                    return Ok(Some(session));
                }
                Some(Err(error)) => error,
            };
            match &error {
                SessionError::Transaction(reason) if reason.may_pass() => {}
                _ => return Err(error.into()),
            }
            if self.wait_after(&error, delays).await.is_none() {
                return Ok(None);
            }
        }
    }
}
