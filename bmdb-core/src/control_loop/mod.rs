//! Control loops: you write what to do for one machine; the [`Runner`] claims machines, waits for them,
//! records how attempts end, keeps the lease and shuts down gracefully.
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
//!         let provided = machine.provided.as_ref().ok_or("no provider has it any more")?;
//!         if provided.provider != Provider::from_static("fra1") {
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
mod error;
mod event;
mod failure;
mod host;
mod machine;
mod options;
mod pause_watch;
mod run;
mod runner;
mod shutdown;

pub use crate::work::rate_limiter::{Rate, RateError};
pub use commit::{Commit, TxFnOnce};
pub use error::LoopError;
pub use event::{Event, Outcome, Summary};
pub use failure::Failure;
pub use machine::Machine;
pub use options::LoopOptions;
pub use runner::Runner;
pub use shutdown::Shutdown;
pub use tokio_util::sync::CancellationToken;

use crate::work::Work;
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_model::{Process, Provider};

/// The default of [`ControlLoop::backoff`].
const DEFAULT_BACKOFF: Backoff = match (Seconds::new(60), Seconds::new(4 * 3600)) {
    (Some(minute), Some(longest)) => Backoff::exponential(minute, longest, Factor::from_int(2)),
    _ => Backoff::fixed(Seconds::MAX),
};

/// What a control loop does; [`Runner`] runs it.
pub trait ControlLoop: Send + Sync + 'static {
    /// The process whose due machines are claimed; it must have a workflow.
    fn workflow(&self) -> Process;

    /// The providers whose machines are claimed. Default: all providers, for which the cost of a claim
    /// grows with the number of due machines.
    fn providers(&self) -> Vec<Provider> {
        Vec::new()
    }

    /// The backoff after a failure without its own [`Failure::backoff`]. Default: 1, 2, 4, … minutes, up
    /// to four hours.
    fn backoff(&self) -> Backoff {
        DEFAULT_BACKOFF
    }

    /// Acts on one machine, which no other process of the lane can claim in the meantime. Write
    /// `async fn process(&self, …)`.
    ///
    /// The runner records the result: a [`Commit`] with what it writes, or a [`Failure`], into which `?`
    /// converts every error and every text. A panic is a failure with its message as cause; an attempt
    /// that takes longer than [`LoopOptions::timeout`] is a failure too.
    ///
    /// It may block its thread for a while, if the runtime has others: heartbeats have a thread of their own, so
    /// the lease stays. But nothing else of that thread runs in the meantime, such as other attempts, and
    /// neither a timeout, a shutdown nor a lost lease can interrupt a future that does not await. Run calls
    /// that block in [`spawn_blocking`](tokio::task::spawn_blocking). A heartbeat proves that the program
    /// lives, and not that this future makes progress: one that hangs keeps its machine until
    /// [`LoopOptions::timeout`], which has no default.
    ///
    /// Cancellation: [`Machine::stop`] is canceled when the lease is lost, the attempt has timed out, the
    /// loop shuts down, or an operator has paused the process and stops what runs; the future is dropped [`LoopOptions::grace`] later, at any of its awaits.
    /// Code that must not be dropped, or has to stop something elsewhere, watches that token. Pass
    /// [`Work::fence`] to external systems that act on the machine; they should refuse smaller ones.
    fn process(
        &self,
        work: &Work,
        machine: &Machine,
    ) -> impl Future<Output = Result<Commit, Failure>> + Send;

    /// Called with each event; those of one machine come in their order. It must not block.
    fn on_event(&self, event: &Event<'_>) {
        let _ = event;
    }
}
