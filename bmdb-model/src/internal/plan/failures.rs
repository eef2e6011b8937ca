//! Notes of workflows that fail, in the table `plan_failure`.

use super::careful::{Unplanned, may_be_a_views_fault, plan_usable};
use super::{Definitions, definitions};
use crate::internal::machine::lock_first_free;
use crate::internal::notify::Notify;
use crate::plan::{BrokenWorkflow, failures};
use crate::statement::statement;
use crate::{Error, MachineId, Process, machine};
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Takes the lock of a process's note until the end of the transaction, unless another one has it: notes are
/// left out instead of waited for. The first key stands for notes.
macro_rules! try_lock_note {
    () => {
        "pg_try_advisory_xact_lock(1886151028, hashtext($1))"
    };
}

statement! {
    Note<'a> = concat!(
        "INSERT INTO plan_failure AS f (process, workflow, machine_id, error) \
         SELECT $1, $2, $3, $4 WHERE ", try_lock_note!(),
        " ON CONFLICT (process) DO UPDATE SET workflow = excluded.workflow, \
          machine_id = excluded.machine_id, error = excluded.error, noted_at = clock_timestamp() \
          WHERE f.noted_at NOT BETWEEN clock_timestamp() - interval '1 minute' AND clock_timestamp() \
            AND (f.workflow, f.machine_id, f.error) \
                IS DISTINCT FROM (excluded.workflow, excluded.machine_id, excluded.error)"
    );
    (
        process: &'a Process => Text,
        workflow: &'a str => Text,
        machine: MachineId => SqlUuid,
        error: &'a str => Text,
    ) -> ()
}

/// Notes the workflows that have failed. Many writers may meet the same one, so they read first, and one of
/// them changes the note at most once a minute.
pub(super) async fn note(
    conn: &mut AsyncPgConnection,
    unplanned: &mut [Unplanned],
) -> Result<(), Error> {
    if unplanned.is_empty() {
        return Ok(());
    }
    let noted = failures(conn).await?;
    for Unplanned {
        broken, is_news, ..
    } in unplanned
    {
        if !noted.iter().any(|noted| noted.broken == *broken) {
            let note = Note {
                process: &broken.process,
                workflow: &broken.workflow,
                machine: broken.machine,
                error: &broken.error,
            };
            *is_news = note.execute(conn).await? > 0;
        }
    }
    Ok(())
}

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
