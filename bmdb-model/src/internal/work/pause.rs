//! Pausing a process for a provider because an attempt asks for it.

use super::attempt::Attempt;
use super::release::whole_milliseconds;
use crate::column::Column;
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::{Error, MachineId, Process, Provider};
use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::time::Duration;

/// A pause of a process for one provider, in force.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct ProviderPause {
    /// The provider on whose machines nothing of the process starts.
    pub provider: Provider,
    /// When it ends; `None` if only when somebody resumes.
    pub until: Option<DateTime<Utc>>,
}

statement! {
    Pause<'a> = include_str!("../../sql/pause_provider.sql");
    (
        process: &'a Process => Text, milliseconds: i64 => BigInt, paused_by: &'a str => Text,
        reason: &'a str => Text, machine: MachineId => SqlUuid
    ) -> (Text, Nullable<Timestamptz>)
}

/// Pauses the process of an attempt for the provider of its machine, in the transaction that ends the
/// attempt. Returns the pause in force, which may be another one that ends later; `None` for a machine
/// without a provider.
///
/// # Errors
/// [`Error::Empty`], [`Error::TooLong`] or [`Error::NulByte`] for the name, [`Error::Database`].
pub async fn pause_provider(
    conn: &mut AsyncPgConnection,
    attempt: &Attempt,
    time: Duration,
    paused_by: &str,
    reason: &str,
) -> Result<Option<ProviderPause>, Error> {
    Column::COMPONENT.check_non_empty(paused_by)?;
    let pause = Pause {
        process: &attempt.process,
        milliseconds: whole_milliseconds(time),
        paused_by,
        reason: &Column::REASON.recorded_reason(reason),
        machine: attempt.machine,
    };
    Ok(pause.get_result(conn).await.optional()?)
}
