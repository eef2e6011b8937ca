//! Switching a process off, so that no machine is due for it, and on again.

use super::{check_known, invalid};
use crate::schema::process_def;
use crate::statement::statement;
use crate::{Error, Process};
use diesel::prelude::*;
use diesel::sql_types::Text;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    Off<'a> = "UPDATE process_def SET off_workflow = workflow, off_time_driven = time_driven, \
                   workflow = NULL, time_driven = false \
               WHERE process = $1 AND workflow IS NOT NULL";
    (process: &'a Process => Text) -> ()
}

statement! {
    On<'a> = "UPDATE process_def SET workflow = off_workflow, time_driven = off_time_driven, \
                  off_workflow = NULL, off_time_driven = false \
              WHERE process = $1 AND off_workflow IS NOT NULL";
    (process: &'a Process => Text) -> ()
}

/// Switches a process off; `false` if it is off already. Replan the fleet afterwards.
///
/// # Errors
/// [`Error::InvalidControl`] for a process without a workflow, [`Error::NoSuchProcess`], [`Error::Database`]:
/// [`crate::ErrorKind::Denied`] unless the user may write definitions.
pub async fn switch_off(conn: &mut AsyncPgConnection, process: &Process) -> Result<bool, Error> {
    check_known(conn, process).await?;
    match workflows(conn, process).await? {
        (Some(_), _) => Ok(Off { process }.execute(conn).await? == 1),
        (None, Some(_)) => Ok(false),
        (None, None) => Err(invalid(
            process,
            "it has no workflow, so no machine is due for it, and there is nothing to switch off: to keep \
             components from starting it, pause it",
        )),
    }
}

/// Switches a process on again; `false` if it is not off. Replan the fleet afterwards.
///
/// # Errors
/// [`Error::NoSuchProcess`], [`Error::Database`] as [`switch_off`].
pub async fn switch_on(conn: &mut AsyncPgConnection, process: &Process) -> Result<bool, Error> {
    check_known(conn, process).await?;
    match workflows(conn, process).await? {
        (_, Some(_)) => Ok(On { process }.execute(conn).await? == 1),
        (_, None) => Ok(false),
    }
}

async fn workflows(
    conn: &mut AsyncPgConnection,
    process: &Process,
) -> Result<(Option<String>, Option<String>), Error> {
    let row = process_def::table
        .find(process)
        .select((process_def::workflow, process_def::off_workflow))
        .first(conn)
        .await
        .optional()?;
    Ok(row.unwrap_or_default())
}
