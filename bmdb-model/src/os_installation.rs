//! Tags of an operating system's installation: a request and a report, each with a generation.
//!
//! Any report of the request's generation settles the request. The machine is installed when that
//! report says `Success`. Only the view `os_installation_settled` defines this rule.

use crate::column::Column;
use crate::rows::{self, Rows};
use crate::schema::{
    machine_os_installation_request as request, os_installation_settled as settled,
};
use crate::statement::statement;
use crate::text_enum::text_enum;
use crate::{Error, MachineId};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bytea, Text, Uuid as SqlUuid};
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

    /// Refuses a request that cannot be stored.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn check(&self) -> Result<(), Error> {
        Column::OS_INSTALLATION_REQUEST.check_bytes(&self.raw)
    }
}

/// How the installation of a generation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct InstallationReport {
    /// The generation of the request.
    pub generation: i64,
    pub result: InstallationResult,
    /// The report, in the encoding that the agent chose.
    pub raw: Vec<u8>,
}

impl InstallationReport {
    /// The report of a generation.
    #[must_use]
    pub fn new(generation: i64, result: InstallationResult, raw: impl Into<Vec<u8>>) -> Self {
        Self {
            generation,
            result,
            raw: raw.into(),
        }
    }

    /// Refuses a report that cannot be stored.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn check(&self) -> Result<(), Error> {
        Column::OS_INSTALLATION_REPORT.check_bytes(&self.raw)
    }
}

statement! {
    SetRequests<'a> = "INSERT INTO machine_os_installation_request \
             (machine_id, generation, os_installation_request_raw) \
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]) \
         ON CONFLICT (machine_id) DO UPDATE SET generation = excluded.generation, \
             os_installation_request_raw = excluded.os_installation_request_raw";
    (
        machines: &'a [MachineId] => Array<SqlUuid>,
        generations: &'a [i64] => Array<BigInt>,
        requests: &'a [&'a [u8]] => Array<Bytea>,
    ) -> ()
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
    // Before the request is copied.
    Column::OS_INSTALLATION_REQUEST.check_bytes(raw)?;
    let request = InstallationRequest::new(generation, raw);
    set_requests_pipelined(conn, &Rows::from([(machine, &request)])).await
}

/// Like [`set_request`] for many machines, in one statement; for more than 32 MiB of requests, in several.
/// If a machine is named twice, the last entry counts. The caller has touched all of them.
///
/// # Errors
/// [`Error::OfMachine`] with [`Error::TooLong`], and then nothing was written; [`Error::Database`].
pub async fn set_requests(
    conn: &mut AsyncPgConnection,
    requests: &[(MachineId, InstallationRequest)],
) -> Result<(), Error> {
    let requests = rows::last_of(requests);
    rows::check(&requests, InstallationRequest::check)?;
    set_requests_pipelined(conn, &requests).await
}

/// Sets the tag to values that have been checked.
pub(crate) async fn set_requests_pipelined(
    conn: &AsyncPgConnection,
    requests: &Rows<'_, InstallationRequest>,
) -> Result<(), Error> {
    let batches = rows::batches(requests, |request| request.raw.len()).into_iter();
    let statements = batches.map(|batch| async move {
        let set = SetRequests {
            machines: &batch.machines,
            generations: &batch.column(|request| request.generation),
            requests: &batch.column(|request| &*request.raw),
        };
        set.execute(&mut &*conn).await?;
        Ok(())
    });
    rows::pipelined(statements).await
}

statement! {
    SetReports<'a> = "INSERT INTO machine_os_installation_report \
             (machine_id, generation, os_installation_result, os_installation_report_raw) \
         SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[]) \
         ON CONFLICT (machine_id) DO UPDATE SET generation = excluded.generation, \
             os_installation_result = excluded.os_installation_result, \
             os_installation_report_raw = excluded.os_installation_report_raw";
    (
        machines: &'a [MachineId] => Array<SqlUuid>,
        generations: &'a [i64] => Array<BigInt>,
        results: &'a [InstallationResult] => Array<Text>,
        reports: &'a [&'a [u8]] => Array<Bytea>,
    ) -> ()
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
    // Before the report is copied.
    Column::OS_INSTALLATION_REPORT.check_bytes(raw)?;
    let report = InstallationReport::new(generation, result, raw);
    set_reports_pipelined(conn, &Rows::from([(machine, &report)])).await
}

/// Like [`set_report`] for many machines, in one statement; for more than 32 MiB of reports, in several.
/// If a machine is named twice, the last entry counts. The caller has touched all of them.
///
/// # Errors
/// [`Error::OfMachine`] with [`Error::TooLong`], and then nothing was written; [`Error::Database`].
pub async fn set_reports(
    conn: &mut AsyncPgConnection,
    reports: &[(MachineId, InstallationReport)],
) -> Result<(), Error> {
    let reports = rows::last_of(reports);
    rows::check(&reports, InstallationReport::check)?;
    set_reports_pipelined(conn, &reports).await
}

/// Sets the tag to values that have been checked.
pub(crate) async fn set_reports_pipelined(
    conn: &AsyncPgConnection,
    reports: &Rows<'_, InstallationReport>,
) -> Result<(), Error> {
    let batches = rows::batches(reports, |report| report.raw.len()).into_iter();
    let statements = batches.map(|batch| async move {
        let set = SetReports {
            machines: &batch.machines,
            generations: &batch.column(|report| report.generation),
            results: &batch.column(|report| report.result),
            reports: &batch.column(|report| &*report.raw),
        };
        set.execute(&mut &*conn).await?;
        Ok(())
    });
    rows::pipelined(statements).await
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
