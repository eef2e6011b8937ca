//! The beginning of a transaction that finishes attempts: it locks what the end is decided by.

use super::attempts::Attempts;
use super::finish::Finish;
use crate::connection::{Access, Isolation};
use crate::internal::connection::{PlanSettings, beginning};
use crate::internal::plan::DefinitionsVersion;
use crate::statement::statement;
use crate::{Error, Fence, MachineId, Process, SessionId};
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::collections::HashSet;
use std::sync::LazyLock;

/// Whether the transaction waits for another one that has a machine locked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waiting {
    /// An attempt with writes is then [`Ended::Busy`](super::Ended::Busy).
    No,
    /// The lock is awaited, for as long as the connection's settings let a statement wait.
    Yes,
}

const LOCK: &str = include_str!("../../sql/finish/lock.sql");
static LOCK_WAITING: LazyLock<String> = LazyLock::new(|| LOCK.replace(" SKIP LOCKED", ""));

type LockColumns = (Bool, Nullable<BigInt>, Array<BigInt>, Array<SqlUuid>);

statement! {
    Lock<'a> = LOCK;
    (
        session: SessionId => SqlUuid,
        machines: &'a [MachineId] => Array<SqlUuid>, touched: &'a [MachineId] => Array<SqlUuid>,
        machine_of: &'a [MachineId] => Array<SqlUuid>, processes: &'a [&'a Process] => Array<Text>,
        fences: &'a [Fence] => Array<BigInt>,
    ) -> LockColumns
}

statement! {
    LockWaiting<'a> = &LOCK_WAITING;
    (
        session: SessionId => SqlUuid,
        machines: &'a [MachineId] => Array<SqlUuid>, touched: &'a [MachineId] => Array<SqlUuid>,
        machine_of: &'a [MachineId] => Array<SqlUuid>, processes: &'a [&'a Process] => Array<Text>,
        fences: &'a [Fence] => Array<BigInt>,
    ) -> LockColumns
}

type LockRow = (bool, Option<i64>, Vec<Fence>, Vec<MachineId>);

/// What a transaction has locked.
pub(super) struct Locked {
    pub(super) version: DefinitionsVersion,
    /// The attempts that the session has.
    pub(super) claimed: HashSet<Fence>,
    /// The machines. Another transaction has locked the others, or has deleted them.
    pub(super) machines: HashSet<MachineId>,
}

/// Begins a transaction, checks the session, and locks attempts and their machines, or those that are free, all
/// in one round trip. Machines about which something is written are touched. `None` if the session is not alive.
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
        Waiting::Yes => beginning(conn, PlanSettings::Kept, how, lock!(LockWaiting)).await?,
    };
    let (is_alive, version, claimed, machines) = row;
    Ok(is_alive.then(|| Locked {
        version: DefinitionsVersion(version),
        claimed: claimed.into_iter().collect(),
        machines: machines.into_iter().collect(),
    }))
}
