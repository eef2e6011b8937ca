//! What could not be planned, and its notes in the table `plan_failure`.

use crate::plan::{BrokenWorkflow, failures};
use crate::statement::statement;
use crate::{Error, MachineId, Process};
use diesel::sql_types::{Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// A workflow that failed, and the machines whose items stay as they were because of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unplanned {
    /// The workflow, and the first machine that was found.
    pub broken: BrokenWorkflow,
    /// The machines; after a timeout or a long search, some that would not have failed are among them.
    pub machines: Vec<MachineId>,
    /// Whether the note of this workflow was written or changed.
    pub is_news: bool,
}

/// Takes the lock of a process's note until the end of the transaction, unless another one has it: notes are
/// left out instead of waited for. The first key stands for notes.
macro_rules! try_lock_note {
    () => {
        "pg_try_advisory_xact_lock(1886151028, hashtext($1))"
    };
}

pub(super) use try_lock_note;

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
