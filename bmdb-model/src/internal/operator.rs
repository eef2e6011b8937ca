//! Recording what an operator does.

use crate::error::{optional_storable, storable_non_empty};
use crate::operator::Verb;
use crate::statement::statement;
use crate::{Error, Fence, MachineId, Process, SessionId};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// What is to be recorded: only what the act is about is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAction<'a> {
    /// What is done.
    pub verb: Verb,
    /// Who does it.
    pub operator: &'a str,
    /// Why.
    pub reason: Option<&'a str>,
    /// On which machine.
    pub machine: Option<MachineId>,
    /// To which process there.
    pub process: Option<&'a Process>,
    /// To which session.
    pub session: Option<SessionId>,
    /// To which claim.
    pub fence: Option<Fence>,
    /// What else there is to say, by name: the tag, what it was before.
    pub details: Vec<(&'static str, String)>,
}

impl<'a> NewAction<'a> {
    /// An act that is about nothing yet.
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
        names: &'a [&'a str] => Array<Text>, values: &'a [&'a str] => Array<Text>
    ) -> BigInt
}

/// Records an act, in the transaction that does it; its number.
///
/// # Errors
/// [`Error::Empty`] for who, or for a reason that says nothing; [`Error::NulByte`]; [`Error::Database`].
pub async fn record(conn: &mut AsyncPgConnection, action: &NewAction<'_>) -> Result<i64, Error> {
    storable_non_empty("operator", action.operator)?;
    if let Some(reason) = action.reason {
        storable_non_empty("reason", reason)?;
    }
    for (name, value) in &action.details {
        optional_storable(name, Some(value))?;
    }
    let names: Vec<&str> = action.details.iter().map(|(name, _)| *name).collect();
    let values: Vec<&str> = action.details.iter().map(|(_, value)| &**value).collect();
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
