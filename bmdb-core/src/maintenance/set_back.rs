//! Set back: mends times in the future after the database's clock was set back.
//!
//! Without that, each backoff, pause of a breaker and window of a limit lasts longer by as much as the clock was
//! set back, and agents that have fallen silent count as heard for as long.

use crate::db::database::Database;
use crate::error::TxError;
use crate::maintenance::batch::MACHINES;
use bmdb_model::MachineId;
use bmdb_model::internal::{self, set_back};
use diesel_async::AsyncPgConnection;
use std::collections::BTreeSet;

/// What a batch leaves to the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// The clock was not set back, or another janitor mends, or everything is mended.
    Nothing,
    /// Machines after this one: each is mended once, because an agent's clock may be ahead for good.
    After(Option<MachineId>),
}

/// Mends everything, in batches. Nothing is done if the clock was not set back by more than a few minutes, or if
/// another janitor does it.
pub(crate) async fn mend(database: &Database) -> Result<(), TxError> {
    let controls = async |conn: &mut AsyncPgConnection| Ok(mend_controls(conn).await?);
    if !database.transaction(&controls).await? {
        return Ok(());
    }
    tracing::warn!(
        "the database's clock was set back: backoffs, pauses and windows that began later begin now"
    );
    let mut next = Next::After(None);
    while let Next::After(after) = next {
        let batch =
            async |conn: &mut AsyncPgConnection| Ok(mend_batch(conn, database, after).await?);
        next = database.transaction(&batch).await?;
    }
    Ok(())
}

/// In a transaction of its own: a claim locks an item before its slots.
async fn mend_controls(conn: &mut AsyncPgConnection) -> Result<bool, bmdb_model::Error> {
    let was_set_back = set_back::lock(conn).await?;
    if was_set_back {
        set_back::mend_controls(conn).await?;
    }
    Ok(was_set_back)
}

async fn mend_batch(
    conn: &mut AsyncPgConnection,
    database: &Database,
    after: Option<MachineId>,
) -> Result<Next, bmdb_model::Error> {
    if !set_back::lock(conn).await? {
        return Ok(Next::Nothing);
    }
    let heard = set_back::heard_in_future(conn, after, MACHINES).await?;
    let planned = set_back::planned_in_future(conn, after, MACHINES).await?;
    let machines: BTreeSet<MachineId> = heard.into_iter().chain(planned).collect();
    let batch = usize::try_from(MACHINES).unwrap_or(usize::MAX);
    let machines: Vec<MachineId> = machines.into_iter().take(batch).collect();
    let (after, is_done) = (machines.last().copied().or(after), machines.is_empty());
    let machines = internal::machine::touch_existing(conn, &machines).await?;
    set_back::mend_agents(conn, &machines).await?;
    let definitions = internal::plan::definitions(conn).await?;
    let plan = internal::plan::replan_carefully(conn, &machines, &definitions, database.notify);
    database.note_unplanned(&plan.await?);
    let backoffs = set_back::mend_backoffs(conn, MACHINES).await?;
    if !is_done || backoffs > 0 {
        return Ok(Next::After(after));
    }
    set_back::mended(conn).await?;
    Ok(Next::Nothing)
}
