//! The tag `machine_hardware_report`: the hardware that the agent found.

use crate::column::Column;
use crate::rows::{self, Rows};
use crate::schema::machine_hardware_report;
use crate::statement::statement;
use crate::{Error, MachineId};
use diesel::prelude::*;
use diesel::sql_types::{Array, Bytea, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

statement! {
    Set<'a> = "INSERT INTO machine_hardware_report (machine_id, hardware_report_raw) \
         SELECT * FROM unnest($1::uuid[], $2::bytea[]) \
         ON CONFLICT (machine_id) DO UPDATE SET hardware_report_raw = excluded.hardware_report_raw";
    (machines: &'a [MachineId] => Array<SqlUuid>, reports: &'a [&'a [u8]] => Array<Bytea>) -> ()
}

/// Sets the report, in the encoding that the agent chose. The caller has touched the machine.
///
/// # Errors
/// [`Error::TooLong`], [`Error::Database`].
pub async fn set(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    raw: &[u8],
) -> Result<(), Error> {
    check(raw)?;
    set_pipelined(conn, &Rows::from([(machine, raw)])).await
}

/// Like [`set`] for many machines, in one statement; for more than 32 MiB of reports, in several. If a
/// machine is named twice, the last entry counts. The caller has touched all of them.
///
/// # Errors
/// [`Error::OfMachine`] with [`Error::TooLong`], and then nothing was written; [`Error::Database`].
pub async fn set_all<R: AsRef<[u8]>>(
    conn: &mut AsyncPgConnection,
    reports: &[(MachineId, R)],
) -> Result<(), Error> {
    let reports: Rows<'_, [u8]> = reports
        .iter()
        .map(|(machine, raw)| (*machine, raw.as_ref()))
        .collect();
    rows::check(&reports, check)?;
    set_pipelined(conn, &reports).await
}

/// Refuses a report that cannot be stored.
pub(crate) fn check(raw: &[u8]) -> Result<(), Error> {
    Column::HARDWARE_REPORT.check_bytes(raw)
}

/// Sets the tag to values that have been checked.
pub(crate) async fn set_pipelined(
    conn: &AsyncPgConnection,
    reports: &Rows<'_, [u8]>,
) -> Result<(), Error> {
    let batches = rows::batches(reports, <[u8]>::len).into_iter();
    let statements = batches.map(|batch| async move {
        let set = Set {
            machines: &batch.machines,
            reports: &batch.values,
        };
        set.execute(&mut &*conn).await?;
        Ok(())
    });
    rows::pipelined(statements).await
}

/// Lists up to `limit` reports of machines after `after`, in machine order. Pass the last machine of
/// one page to get the next page.
///
/// # Errors
/// [`Error::Database`].
pub async fn page(
    conn: &mut AsyncPgConnection,
    after: Option<MachineId>,
    limit: i64,
) -> Result<Vec<(MachineId, Vec<u8>)>, Error> {
    let mut page = machine_hardware_report::table
        .order(machine_hardware_report::machine_id)
        .limit(limit)
        .select((
            machine_hardware_report::machine_id,
            machine_hardware_report::hardware_report_raw,
        ))
        .into_boxed();
    if let Some(after) = after {
        page = page.filter(machine_hardware_report::machine_id.gt(after));
    }
    Ok(page.load(conn).await?)
}
