//! Checking again workflows that have failed.

use super::careful::{may_be_a_views_fault, plan_usable};
use super::unplanned::{note, try_lock_note};
use super::{Definitions, definitions};
use crate::internal::machine::lock_first_free;
use crate::internal::notify::Notify;
use crate::plan::{BrokenWorkflow, failures};
use crate::statement::statement;
use crate::{Error, MachineId, Process, machine};
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    Forget<'a> = concat!(
        "DELETE FROM plan_failure WHERE process = $1 AND machine_id = $2 AND ", try_lock_note!()
    );
    (process: &'a Process => Text, machine: MachineId => SqlUuid) -> ()
}

/// Plans the noted machines again, and deletes the notes of those that can be planned or are gone, and of
/// processes that have another workflow now. Machines that another transaction has locked are left for the
/// next time.
///
/// # Errors
/// [`Error::Database`]: roll the transaction back.
pub async fn check_again(conn: &mut AsyncPgConnection, notify: Notify) -> Result<(), Error> {
    for noted in failures(conn).await? {
        let BrokenWorkflow {
            process, machine, ..
        } = &noted.broken;
        let is_locked = lock_first_free(conn, &[*machine]).await?.is_some();
        if !is_locked && machine::find(conn, *machine).await?.is_some() {
            continue;
        }
        // Read after the lock.
        let definitions = definitions(conn).await?;
        if is_locked && has_workflow(&definitions, &noted.broken) {
            let only = definitions.only(process);
            match plan_usable(conn, &[*machine], &only, notify).await {
                Ok(mut unplanned) if !unplanned.is_empty() => {
                    note(conn, &mut unplanned).await?;
                    continue;
                }
                Ok(_) => {}
                // Too slow.
                Err(error) if may_be_a_views_fault(&error) => continue,
                Err(error) => return Err(error),
            }
        }
        let machine = *machine;
        Forget { process, machine }.execute(conn).await?;
    }
    Ok(())
}

fn has_workflow(definitions: &Definitions, broken: &BrokenWorkflow) -> bool {
    let mut workflows = definitions.workflows.iter();
    workflows.any(|w| w.process == broken.process && w.view == broken.workflow)
}
