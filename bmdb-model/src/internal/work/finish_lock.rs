//! The beginning of a transaction that finishes attempts: it locks what the end is decided by.

use super::attempts::Attempts;
use super::judge::Finish;
use crate::connection::{Access, Isolation};
use crate::internal::connection::{PlanSettings, beginning};
use crate::internal::plan::DefinitionsVersion;
use crate::statement::statement;
use crate::{Error, Fence, MachineId, Process, SessionId};
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::collections::HashSet;
use std::sync::LazyLock;

/// Which locks of other transactions are awaited, each for as long as the connection's settings let a statement
/// wait. An end that needs another one is [`Ended::Busy`](super::Ended::Busy).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// None, so that no end delays the others of its batch.
    No,
    /// Those of items.
    ForItems,
    /// Those of machines too.
    ForMachines,
}

const LOCK: &str = include_str!("../../sql/finish/lock.sql");
const SKIP: &str = " SKIP LOCKED";
static LOCK_WAITING_FOR_ITEMS: LazyLock<String> = LazyLock::new(|| {
    let (machines, items) = LOCK.rsplit_once(SKIP).unwrap_or((LOCK, ""));
    format!("{machines}{items}")
});
static LOCK_WAITING: LazyLock<String> = LazyLock::new(|| LOCK.replace(SKIP, ""));

type LockColumns = (
    Bool,
    Nullable<BigInt>,
    Array<BigInt>,
    Array<SqlUuid>,
    Array<BigInt>,
);

/// The statement with one of its texts.
macro_rules! lock_statement {
    ($name:ident, $text:expr) => {
        statement! {
            $name<'a> = $text;
            (
                session: SessionId => SqlUuid,
                machines: &'a [MachineId] => Array<SqlUuid>, touched: &'a [MachineId] => Array<SqlUuid>,
                machine_of: &'a [MachineId] => Array<SqlUuid>, processes: &'a [&'a Process] => Array<Text>,
                fences: &'a [Fence] => Array<BigInt>,
            ) -> LockColumns
        }
    };
}

lock_statement!(Lock, LOCK);
lock_statement!(LockWaitingForItems, &LOCK_WAITING_FOR_ITEMS);
lock_statement!(LockWaiting, &LOCK_WAITING);

type LockRow = (bool, Option<i64>, Vec<Fence>, Vec<MachineId>, Vec<Fence>);

/// What a transaction has locked.
pub(super) struct Locked {
    pub(super) version: DefinitionsVersion,
    /// The attempts whose items are locked: the session has them, and nobody else can end them.
    pub(super) attempts: HashSet<Fence>,
    /// The machines. Another transaction has locked the others, or has deleted them.
    pub(super) machines: HashSet<MachineId>,
    /// The attempts that another transaction has locked, and whose items were not awaited.
    pub(super) busy: HashSet<Fence>,
}

/// Begins a transaction, checks the session, and locks attempts and their machines, all in one round trip. The
/// machines of locked attempts about which something is written are touched. `None` if the session is not alive.
///
/// # Errors
/// [`Error::Database`]; the transaction may be open then.
pub(super) async fn begin_locking(
    conn: &mut AsyncPgConnection,
    session: SessionId,
    finishes: &[Finish<'_>],
    waiting: Waiting,
) -> Result<Option<Locked>, Error> {
    let attempts = Attempts::of(finishes.iter().map(|f| f.attempt));
    let writing = finishes.iter().filter(|f| !f.writes.is_empty());
    let touched: Vec<MachineId> = writing.map(|f| f.attempt.machine).collect();
    macro_rules! lock {
        ($statement:ident) => {{
            let lock = $statement {
                session,
                machines: &attempts.machines,
                touched: &touched,
                machine_of: &attempts.machines,
                processes: &attempts.processes,
                fences: &attempts.fences,
            };
            // If the transaction does not begin, locks on their own do no harm, and neither does a touch.
            async |mut conn: &AsyncPgConnection| Ok(lock.get_result(&mut conn).await?)
        }};
    }
    let how = (Isolation::ReadCommitted, Access::ReadWrite);
    let row: LockRow = match waiting {
        Waiting::No => beginning(conn, PlanSettings::Kept, how, lock!(Lock)).await?,
        Waiting::ForItems => {
            beginning(conn, PlanSettings::Kept, how, lock!(LockWaitingForItems)).await?
        }
        Waiting::ForMachines => {
            beginning(conn, PlanSettings::Kept, how, lock!(LockWaiting)).await?
        }
    };
    let (is_alive, version, attempts, machines, claimed) = row;
    let attempts: HashSet<Fence> = attempts.into_iter().collect();
    // What was claimed when the statement began, and not when its lock was awaited, is lost.
    let busy = match waiting {
        Waiting::No => claimed
            .into_iter()
            .filter(|fence| !attempts.contains(fence))
            .collect(),
        Waiting::ForItems | Waiting::ForMachines => HashSet::new(),
    };
    Ok(is_alive.then(|| Locked {
        version: DefinitionsVersion(version),
        attempts,
        machines: machines.into_iter().collect(),
        busy,
    }))
}
