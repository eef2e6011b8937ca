//! Recording operator actions.

use crate::column::Column;
use crate::operator::Verb;
use crate::statement::statement;
use crate::{Error, Fence, MachineId, Process, SessionId};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::borrow::Cow;

/// An operator action to record. Only the fields that it is about are set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct NewAction<'a> {
    /// What is done.
    pub verb: Verb,
    /// Who does it.
    pub operator: &'a str,
    /// Why.
    pub reason: Option<&'a str>,
    pub machine: Option<MachineId>,
    /// The process on that machine.
    pub process: Option<&'a Process>,
    pub session: Option<SessionId>,
    pub fence: Option<Fence>,
    /// Further details by name, such as the tag and its previous value.
    pub details: Vec<(&'static str, String)>,
}

impl<'a> NewAction<'a> {
    /// An audit record without a target.
    #[must_use]
    pub const fn new(verb: Verb, operator: &'a str, reason: Option<&'a str>) -> Self {
        Self {
            verb,
            operator,
            reason,
            machine: None,
            process: None,
            session: None,
            fence: None,
            details: Vec::new(),
        }
    }
}

statement! {
    Record<'a> = "INSERT INTO operator_action \
             (verb, operator, reason, machine_id, process, session_id, fence, details) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, CASE WHEN cardinality($8::text[]) > 0 \
                                                 THEN jsonb_object($8::text[], $9::text[]) END) \
         RETURNING action_id";
    (
        verb: Verb => Text, operator: &'a str => Text, reason: Option<&'a str> => Nullable<Text>,
        machine: Option<MachineId> => Nullable<SqlUuid>, process: Option<&'a Process> => Nullable<Text>,
        session: Option<SessionId> => Nullable<SqlUuid>, fence: Option<Fence> => Nullable<BigInt>,
        names: &'a [&'a str] => Array<Text>, values: &'a [Cow<'a, str>] => Array<Text>
    ) -> BigInt
}

/// Records an action in the transaction that performs it; returns the record's number.
///
/// # Errors
/// [`Error::Empty`], [`Error::TooLong`] or [`Error::NulByte`] for the operator or the reason;
/// [`Error::Database`].
pub async fn record(conn: &mut AsyncPgConnection, action: &NewAction<'_>) -> Result<i64, Error> {
    Column::OPERATOR.check_non_empty(action.operator)?;
    if let Some(reason) = action.reason {
        Column::REASON.check_non_empty(reason)?;
    }
    let names: Vec<&str> = action.details.iter().map(|(name, _)| *name).collect();
    let values = action.details.iter();
    let values: Vec<_> = values
        .map(|(_, value)| Column::DETAIL.recorded(value))
        .collect();
    let record = Record {
        verb: action.verb,
        operator: action.operator,
        reason: action.reason,
        machine: action.machine,
        process: action.process,
        session: action.session,
        fence: action.fence,
        names: &names,
        values: &values,
    };
    Ok(record.get_result(conn).await?)
}
