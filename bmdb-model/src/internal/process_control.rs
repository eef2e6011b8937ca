//! Writing limits, breakers and pauses. Each function runs in a transaction of the caller's at READ COMMITTED.

mod breaker;
mod limit;
mod pause;
mod stopping;
mod switch;

pub use breaker::{rearm_breakers, remove_breaker, set_breaker};
pub use limit::{remove_limit, set_limit};
pub use pause::{NewPause, PauseEnd, Resumed, pause, resume};
pub use stopping::stopping;
pub use switch::{switch_off, switch_on};

use crate::statement::statement;
use crate::{Error, Process};
use diesel::sql_types::{Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    /// An update locks the row, so that nobody removes it before what refers to it is there.
    Control<'a> = "INSERT INTO process_control (process) VALUES ($1) \
                   ON CONFLICT (process) DO UPDATE SET process = excluded.process";
    (process: &'a Process => Text) -> ()
}

statement! {
    ForgetPauses<'a> = "DELETE FROM process_pause WHERE process = $1 AND until <= clock_timestamp()";
    (process: &'a Process => Text) -> ()
}

statement! {
    Uncontrol<'a> = "DELETE FROM process_control c WHERE c.process = $1 \
                     AND NOT EXISTS (SELECT FROM process_limit l WHERE l.process = c.process) \
                     AND NOT EXISTS (SELECT FROM process_breaker b WHERE b.process = c.process) \
                     AND NOT EXISTS (SELECT FROM process_pause p WHERE p.process = c.process)";
    (process: &'a Process => Text) -> ()
}

/// Notes that something is said of the process.
async fn control(conn: &mut AsyncPgConnection, process: &Process) -> Result<(), Error> {
    Control { process }.execute(conn).await?;
    Ok(())
}

/// Removes the note if nothing is said of the process any more.
async fn uncontrol(conn: &mut AsyncPgConnection, process: &Process) -> Result<(), Error> {
    ForgetPauses { process }.execute(conn).await?;
    Uncontrol { process }.execute(conn).await?;
    Ok(())
}

fn invalid(process: &Process, problem: impl Into<String>) -> Error {
    Error::InvalidControl {
        process: process.clone(),
        problem: problem.into(),
    }
}

statement! {
    IsControlled<'a> = "SELECT EXISTS (SELECT FROM process_control c WHERE c.process = $1)";
    (process: &'a Process => Text) -> Bool
}

/// Refuses a process of which nothing is known: its name is most likely misspelled, and a limit would hold
/// for nothing.
async fn check_known(conn: &mut AsyncPgConnection, process: &Process) -> Result<(), Error> {
    let is_known = IsControlled { process }.get_result(conn).await?
        || crate::process::is_known(conn, process).await?;
    match is_known {
        true => Ok(()),
        false => Err(Error::NoSuchProcess {
            process: process.clone(),
            known: crate::process::known(conn).await?,
        }),
    }
}
