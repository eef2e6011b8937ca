//! The tag `machine_hardware_report`: the hardware that the agent found.

use crate::column::Column;
use crate::schema::machine_hardware_report;
use crate::{Error, MachineId};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Sets the report, in the encoding that the agent chose. The caller has touched the machine.
///
/// # Errors
/// [`Error::TooLong`], [`Error::Database`].
pub async fn set(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    raw: &[u8],
) -> Result<(), Error> {
    Column::HARDWARE_REPORT.check_bytes(raw)?;
    diesel::insert_into(machine_hardware_report::table)
        .values((
            machine_hardware_report::machine_id.eq(machine),
            machine_hardware_report::hardware_report_raw.eq(raw),
        ))
        .on_conflict(machine_hardware_report::machine_id)
        .do_update()
        .set(machine_hardware_report::hardware_report_raw.eq(raw))
        .execute(conn)
        .await?;
    Ok(())
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
