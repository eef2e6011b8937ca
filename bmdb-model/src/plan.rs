//! Replanning: writing into work items what the workflows' views say of machines.

use crate::internal::notify::Notify;
use crate::internal::plan::replan_notifying;
use crate::{Error, MachineId};
use diesel_async::AsyncPgConnection;

/// Replans machines whose rows the caller's transaction has locked ([`crate::machine::touch`]).
///
/// Call it in a later statement than the writes that it plans by. Under READ COMMITTED a statement sees
/// what was committed before it began, so the plan then includes the tags of every transaction that had
/// the machine locked before. Only what differs is written.
///
/// # Errors
/// [`Error::Database`], also when a workflow's view is missing or lists a machine twice.
pub async fn replan(conn: &mut AsyncPgConnection, machines: &[MachineId]) -> Result<(), Error> {
    replan_notifying(conn, machines, Notify::Off).await
}
