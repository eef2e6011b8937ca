//! Control loops: what to do for one machine is yours; claiming, waiting, ending, leases and leaving in
//! order are the [`Runner`]'s.
//!
//! ```
//! use bmdb_core::control_loop::{Commit, ControlLoop, Failure, Machine, Runner, Shutdown};
//! # use bmdb_core::control_loop::LoopOptions;
//! use bmdb_core::{Bmdb, Config, Work};
//! use bmdb_model::{AgentStarted, Process, Provider};
//!
//! struct AgentStarter;
//!
//! impl ControlLoop for AgentStarter {
//!     fn workflow(&self) -> Process {
//!         Process::SHEPHERD_AGENT_START
//!     }
//!
//!     async fn process(&self, _: &Work, machine: &Machine) -> Result<Commit, Failure> {
//!         let provided = machine.provided.as_ref().ok_or("nobody provides it any more")?;
//!         if provided.provider != Provider::EQUINIX {
//!             return Err(Failure::hold("an agent cannot be started there"));
//!         }
//!         let key = b"the agent's key"; // … ssh to provided.ip_address …
//!         Ok(Commit::agent_started(AgentStarted::now(key)))
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = bmdb_testkit::TestDb::new().await?;
//! # let url = db.url();
//! let bmdb = Bmdb::connect(Config::new(url).component("agent-starter")).await?;
//! let runner = Runner::new(&bmdb, AgentStarter);
//! # let runner = runner.options(LoopOptions::default().once(true));
//! let summary = runner.run(Shutdown::on_signals()?).await?; // until SIGTERM
//! println!("{summary}");
//! # Ok(())
//! # }
//! ```

mod attempt;
mod claiming;
mod commit;
mod conclude;
mod drain;
mod event;
mod failure;
mod machine;
mod options;
mod runner;
mod shutdown;

pub use crate::work::rate_limiter::{Rate, RateError};
pub use commit::{Commit, TxFnOnce};
pub use event::{Event, Outcome, Summary};
pub use failure::Failure;
pub use machine::Machine;
pub use options::LoopOptions;
pub use runner::{LoopError, Runner};
pub use shutdown::Shutdown;
pub use tokio_util::sync::CancellationToken;

use crate::work::Work;
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_model::{Process, Provider};

/// How long a machine rests that a loop without a backoff of its own has failed on: 1, 2, 4, … minutes,
/// up to four hours.
const DEFAULT_BACKOFF: Backoff = match (Seconds::new(60), Seconds::new(4 * 3600)) {
    (Some(minute), Some(longest)) => Backoff::exponential(minute, longest, Factor::from_int(2)),
    _ => Backoff::fixed(Seconds::MAX),
};

/// What a control loop does; [`Runner`] runs it.
pub trait ControlLoop: Send + Sync + 'static {
    /// The process whose due machines are claimed; it must have a workflow.
    fn workflow(&self) -> Process;

    /// Whose machines are claimed. Default: everybody's, for which a claim costs more the more
    /// machines are due.
    fn providers(&self) -> Vec<Provider> {
        Vec::new()
    }

    /// How long a machine rests after a failure that does not bring a [`Failure::backoff`] of its own.
    /// Default: 1, 2, 4, … minutes, up to four hours.
    fn backoff(&self) -> Backoff {
        DEFAULT_BACKOFF
    }

    /// Acts on one machine, which is nobody else's meanwhile: `async fn process(&self, …)` will do.
    ///
    /// What is returned is recorded by the runner: a [`Commit`] with what it writes, or a [`Failure`],
    /// into which `?` turns every error and every text. A panic is a failure with its message as cause,
    /// and so is taking longer than [`LoopOptions::timeout`].
    ///
    /// Cancellation: [`Machine::stop`] is canceled when the lease is lost, the time is up, or the loop
    /// has to leave; the future is dropped [`LoopOptions::grace`] later, at any of its awaits. Code
    /// that must not be dropped, or has something to stop elsewhere, watches that token. Whatever acts
    /// on the machine by other means should be handed [`Work::fence`] and refuse smaller ones.
    fn process(
        &self,
        work: &Work,
        machine: &Machine,
    ) -> impl Future<Output = Result<Commit, Failure>> + Send;

    /// Is told what happens, in the order in which it does for each machine. It must not block.
    fn on_event(&self, event: &Event<'_>) {
        let _ = event;
    }
}
