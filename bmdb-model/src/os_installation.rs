//! Tags of an operating system's installation: a request and a report, each with a generation.
//!
//! Any report of the request's generation settles the request. The machine is installed when that
//! report says `Success`. Only the view `os_installation_settled` defines this rule.

use crate::column::Column;
use crate::schema::{
    machine_os_installation_report as report, machine_os_installation_request as request,
    os_installation_settled as settled,
};
use crate::text_enum::text_enum;
use crate::{Error, MachineId};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

text_enum! {
    /// How an installation ended.
    InstallationResult {
        /// The system is installed.
        Success,
        /// The installation failed; the raw report says why.
        Error,
    }
}

/// What to install on a machine. A new generation replaces the previous one.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[diesel(table_name = request, check_for_backend(Pg))]
#[non_exhaustive]
pub struct InstallationRequest {
    /// Increases with every new request.
    pub generation: i64,
    /// The request, in the encoding that the agent understands.
    #[diesel(column_name = os_installation_request_raw)]
    pub raw: Vec<u8>,
}

impl InstallationRequest {
    /// The request of a generation.
    #[must_use]
    pub fn new(generation: i64, raw: impl Into<Vec<u8>>) -> Self {
        Self {
            generation,
            raw: raw.into(),
        }
    }
}

/// Sets the request. The caller has touched the machine.
///
/// # Errors
/// [`Error::TooLong`], [`Error::Database`].
pub async fn set_request(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    generation: i64,
    raw: &[u8],
) -> Result<(), Error> {
    Column::OS_INSTALLATION_REQUEST.check_bytes(raw)?;
    let contents = (
        request::generation.eq(generation),
        request::os_installation_request_raw.eq(raw),
    );
    diesel::insert_into(request::table)
        .values((request::machine_id.eq(machine), contents))
        .on_conflict(request::machine_id)
        .do_update()
        .set(contents)
        .execute(conn)
        .await?;
    Ok(())
}

/// Sets the report. The caller has touched the machine.
///
/// # Errors
/// [`Error::TooLong`], [`Error::Database`].
pub async fn set_report(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    generation: i64,
    result: InstallationResult,
    raw: &[u8],
) -> Result<(), Error> {
    Column::OS_INSTALLATION_REPORT.check_bytes(raw)?;
    let contents = (
        report::generation.eq(generation),
        report::os_installation_result.eq(result),
        report::os_installation_report_raw.eq(raw),
    );
    diesel::insert_into(report::table)
        .values((report::machine_id.eq(machine), contents))
        .on_conflict(report::machine_id)
        .do_update()
        .set(contents)
        .execute(conn)
        .await?;
    Ok(())
}

/// Returns the machine's request, unless it is settled.
///
/// # Errors
/// [`Error::Database`].
pub async fn pending_request(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
) -> Result<Option<InstallationRequest>, Error> {
    let is_settled = diesel::dsl::exists(settled::table.filter(settled::machine_id.eq(machine)));
    Ok(request::table
        .find(machine)
        .filter(diesel::dsl::not(is_settled))
        .select(InstallationRequest::as_select())
        .first(conn)
        .await
        .optional()?)
}
