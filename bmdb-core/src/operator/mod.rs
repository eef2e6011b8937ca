//! What people do by hand: each act leaves a trace, who and why, in the transaction that does it.
//!
//! ```
//! # use bmdb_core::{Bmdb, Config, SessionOptions};
//! # use bmdb_testkit::TestDb;
//! use bmdb_core::operator::Operator;
//! use bmdb_model::history::{self, Entry};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = TestDb::new().await?;
//! # let bmdb = Bmdb::connect(Config::new(db.url()).component("desk")).await?;
//! # let session = bmdb.start_session(SessionOptions::default()).await?;
//! # let machine = session.transact(async |tx| tx.create_machine().await).await?;
//! let ann = Operator::new("ann@desk").reason("a fan is broken");
//! ann.hold(&session, machine).await?;
//!
//! # let mut conn = db.connect().await?;
//! let page = history::page(&mut conn, machine, None, None, 10).await?;
//! let [Entry::Action(act)] = &page.rows[..] else { panic!() };
//! assert_eq!((act.verb.as_str(), act.operator.as_str()), ("HoldMachine", "ann@desk"));
//! # Ok(())
//! # }
//! ```
//!
//! What is asked for and is so already changes nothing, and leaves no trace: a hold for the same reason, a
//! release of what is not on hold. Setting a tag always writes it.

pub mod explain;

mod backoffs;
#[cfg(feature = "fleet")]
pub mod fleet;
mod machines;
mod replan;
mod sessions;
mod tags;
mod values;

pub use sessions::EndedSession;
pub use values::{Field, InvalidTag, ProvidedChange, Tag, fields};

use crate::db::transaction::{Tx, TxFn, TxOptions};
use crate::error::TxError;
use crate::session::Session;
use bmdb_model::internal::operator::{self, NewAction};
use bmdb_model::operator::Verb;
use bmdb_model::{Fence, MachineId, Process, SessionId};

/// Who acts, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    who: String,
    reason: Option<String>,
}

impl Operator {
    /// Somebody, by whatever name others know them.
    #[must_use]
    pub fn new(who: impl Into<String>) -> Self {
        Self {
            who: who.into(),
            reason: None,
        }
    }

    /// The same, with a reason. One that says nothing is refused when it is to be recorded.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..self
        }
    }

    fn act(&self, verb: Verb) -> NewAction<'_> {
        NewAction::new(verb, &self.who, self.reason.as_deref())
    }

    fn act_on(&self, verb: Verb, machine: MachineId) -> NewAction<'_> {
        NewAction {
            machine: Some(machine),
            ..self.act(verb)
        }
    }
}

/// Why an act was not done. Nothing was changed, unless the transaction's error says that its outcome is
/// not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OperatorError {
    /// There is no such session: it was closed, or has expired and was removed.
    #[error("there is no session {0}: it was closed, or has expired")]
    NoSuchSession(SessionId),
    /// The session's lease has ended already; the janitor frees what it holds.
    #[error("session {0} has expired already: the janitor frees what it holds")]
    SessionEnded(SessionId),
    /// Nobody is at work there: it has ended meanwhile, or was never begun.
    #[error("nobody holds {process} on machine {machine}")]
    NotHeld {
        /// The machine.
        machine: MachineId,
        /// The process.
        process: Process,
    },
    /// Somebody else is at work there than the one who was meant: look again before you go on.
    #[error(
        "{process} on machine {machine} is held under fence {held} now, and not under {asked}: it \
         was given back and claimed again meanwhile"
    )]
    OtherFence {
        /// The machine.
        machine: MachineId,
        /// The process.
        process: Process,
        /// The fence that was asked for.
        asked: Fence,
        /// The one there is.
        held: Fence,
    },
    /// Somebody is at work there, and the end of that decides on the backoff.
    #[error(
        "session {session} is at work on {process} of machine {machine} (fence {fence}), and its \
         end decides on the backoff: wait, or release the work first"
    )]
    AtWork {
        /// The machine.
        machine: MachineId,
        /// The process.
        process: Process,
        /// Who it is.
        session: SessionId,
        /// Under which fence.
        fence: Fence,
    },
    /// There is no backoff: the process has not failed there, or has finished since.
    #[error("{process} has no backoff on machine {machine}")]
    NoBackoff {
        /// The machine.
        machine: MachineId,
        /// The process.
        process: Process,
    },
    /// The backoff has passed already: the next claim takes the machine.
    #[error("the backoff of {process} on machine {machine} has passed already")]
    BackoffPassed {
        /// The machine.
        machine: MachineId,
        /// The process.
        process: Process,
    },
    /// A tag that cannot be set like that.
    #[error(transparent)]
    Tag(#[from] InvalidTag),
    /// The transaction failed.
    #[error(transparent)]
    Transaction(TxError),
}

impl From<TxError> for OperatorError {
    fn from(error: TxError) -> Self {
        match error {
            TxError::Aborted(reason) => match reason.downcast::<Self>() {
                Ok(own) => *own,
                Err(reason) => Self::Transaction(TxError::Aborted(reason)),
            },
            other => Self::Transaction(other),
        }
    }
}

impl From<OperatorError> for TxError {
    fn from(error: OperatorError) -> Self {
        match error {
            OperatorError::Transaction(error) => error,
            own => Self::abort(own),
        }
    }
}

/// Runs an act with its trace. READ COMMITTED, for what was waited for is looked at as it is then: locks
/// come in the order session, machine, item, and what is decided by is read behind them.
async fn transact<T, F>(session: &Session, body: F) -> Result<T, OperatorError>
where
    F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<T, TxError>, Fut: Send> + Send + Sync,
    T: Send,
{
    let done = session.transact_with(TxOptions::read_committed(), body);
    Ok(done.await?)
}

async fn record(tx: &mut Tx<'_>, action: &NewAction<'_>) -> Result<(), TxError> {
    operator::record(tx, action).await?;
    Ok(())
}
