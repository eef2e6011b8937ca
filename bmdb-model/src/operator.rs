//! Audit records: who did what by hand, and why. They are kept for good.
//!
//! The table has no foreign keys, because it outlives machines and sessions. Components add rows and
//! cannot change or delete any ([`crate::grants`]).

use crate::page::{InvalidKey, Page, Parts, join};
use crate::statement::statement;
use crate::text_enum::text_enum;
use crate::time::Timestamptz;
use crate::{Error, Fence, MachineId, Process, SessionId};
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use std::fmt;
use std::str::FromStr;

text_enum! {
    /// What an operator can do.
    #[non_exhaustive]
    Verb {
        /// A machine was created.
        CreateMachine,
        /// A list of machines was imported.
        ImportMachines,
        /// A machine was deleted.
        DeleteMachine,
        /// A machine was put on hold, or the reason of its hold was changed.
        HoldMachine,
        /// A machine was released from its hold.
        ReleaseMachine,
        /// One process was put on hold on a machine, or the reason of that hold was changed.
        HoldProcess,
        /// One process was released from its hold on a machine.
        ReleaseProcess,
        /// A tag was set.
        SetTag,
        /// A tag was unset.
        UnsetTag,
        /// A session was ended.
        EndSession,
        /// Work was taken from the session that had claimed it.
        ReleaseWork,
        /// A backoff was cleared; its sequence starts again.
        ClearBackoff,
        /// A backoff was ended early; its sequence continues.
        RetryNow,
        /// The fleet was replanned.
        Replan,
        /// A limit of a process was set.
        SetLimit,
        /// A limit of a process was removed.
        RemoveLimit,
        /// A breaker of a process was set.
        SetBreaker,
        /// A breaker of a process was removed.
        RemoveBreaker,
        /// A breaker has paused a process: nobody did it by hand.
        TripBreaker,
        /// A process was paused.
        PauseProcess,
        /// A process was resumed.
        ResumeProcess,
        /// A process was switched off.
        SwitchOff,
        /// A process was switched on again.
        SwitchOn,
    }
}

/// A row of `operator_action`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields without a comment explain themselves")]
pub struct Action {
    /// The record's number; it increases with every record.
    pub id: i64,
    /// The machine that the action was about.
    pub machine: Option<MachineId>,
    /// The process on that machine.
    pub process: Option<Process>,
    /// The session.
    pub session: Option<SessionId>,
    /// The claim.
    pub fence: Option<Fence>,
    /// What was done: the name of a [`Verb`], or of one that a later release knows.
    pub verb: String,
    /// Who did it.
    pub operator: String,
    pub reason: Option<String>,
    /// Further details by name.
    pub details: Vec<(String, String)>,
    pub acted_at: DateTime<Utc>,
}

/// Where a page of [`page`] begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActionKey {
    pub(crate) acted_at: DateTime<Utc>,
    pub(crate) id: i64,
}

impl ActionKey {
    pub(crate) fn of(action: &Action) -> Self {
        Self {
            acted_at: action.acted_at,
            id: action.id,
        }
    }
}

impl fmt::Display for ActionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        join(f, &[&self.acted_at.timestamp_micros(), &self.id])
    }
}

impl FromStr for ActionKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let mut parts = Parts::of(text);
        let (acted_at, id) = (parts.time()?, parts.parse()?);
        parts.end()?;
        Ok(Self { acted_at, id })
    }
}

/// Which actions are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "variants without a comment explain themselves")]
pub enum Scope<'a> {
    All,
    /// Actions on a machine. With a process, only those on that process and those on the machine as a
    /// whole.
    Machine(MachineId, Option<&'a Process>),
    /// Actions on a session.
    Session(SessionId),
    /// Actions on a process as a whole: its limits, breakers and pauses.
    Process(&'a Process),
}

type Columns = (
    BigInt,
    Nullable<SqlUuid>,
    Nullable<Text>,
    Nullable<SqlUuid>,
    Nullable<BigInt>,
    Text,
    Text,
    Nullable<Text>,
    (Array<Text>, Array<Nullable<Text>>),
    Timestamptz,
);

type Row = (
    i64,
    Option<MachineId>,
    Option<Process>,
    Option<SessionId>,
    Option<Fence>,
    String,
    String,
    Option<String>,
    (Vec<String>, Vec<Option<String>>),
    DateTime<Utc>,
);

fn action(row: Row) -> Action {
    let (id, machine, process, session, fence, verb, operator, reason, details, acted_at) = row;
    let (names, values) = details;
    let values = values.into_iter().map(Option::unwrap_or_default);
    Action {
        id,
        machine,
        process,
        session,
        fence,
        verb,
        operator,
        reason,
        details: names.into_iter().zip(values).collect(),
        acted_at,
    }
}

macro_rules! actions {
    ($condition:literal, $order:literal) => {
        concat!(
            "SELECT a.action_id, a.machine_id, a.process, a.session_id, a.fence, a.verb, a.operator, a.reason, \
                    ARRAY(SELECT d.key FROM jsonb_each_text(a.details) d ORDER BY d.key), \
                    ARRAY(SELECT d.value FROM jsonb_each_text(a.details) d ORDER BY d.key), a.acted_at \
             FROM operator_action a WHERE ",
            $condition,
            " ORDER BY ",
            $order
        )
    };
}

statement! {
    OfAll = actions!("a.action_id < coalesce($1::bigint, 9223372036854775807)", "a.action_id DESC LIMIT $2");
    (before: Option<i64> => Nullable<BigInt>, limit: i64 => BigInt) -> Columns
}

statement! {
    OfMachine<'a> = actions!(
        "a.machine_id = $1 AND (a.process IS NULL OR a.process = coalesce($2::text, a.process)) \
         AND (a.acted_at, a.action_id) < (coalesce($3::timestamptz, 'infinity'), coalesce($4::bigint, 9223372036854775807))",
        "a.acted_at DESC, a.action_id DESC LIMIT $5"
    );
    (
        machine: MachineId => SqlUuid, process: Option<&'a Process> => Nullable<Text>,
        acted_at: Option<DateTime<Utc>> => Nullable<Timestamptz>, id: Option<i64> => Nullable<BigInt>,
        limit: i64 => BigInt
    ) -> Columns
}

statement! {
    OfSession = actions!(
        "a.session_id = $1 \
         AND (a.acted_at, a.action_id) < (coalesce($2::timestamptz, 'infinity'), coalesce($3::bigint, 9223372036854775807))",
        "a.acted_at DESC, a.action_id DESC LIMIT $4"
    );
    (
        session: SessionId => SqlUuid, acted_at: Option<DateTime<Utc>> => Nullable<Timestamptz>,
        id: Option<i64> => Nullable<BigInt>, limit: i64 => BigInt
    ) -> Columns
}

statement! {
    OfProcess<'a> = actions!(
        "a.process = $1 AND a.machine_id IS NULL \
         AND a.action_id < coalesce($2::bigint, 9223372036854775807)",
        "a.action_id DESC LIMIT $3"
    );
    (process: &'a Process => Text, before: Option<i64> => Nullable<BigInt>, limit: i64 => BigInt) -> Columns
}

/// Lists up to `limit` actions, the latest first.
///
/// # Errors
/// [`Error::Database`].
pub async fn page(
    conn: &mut AsyncPgConnection,
    scope: Scope<'_>,
    after: Option<&ActionKey>,
    limit: i64,
) -> Result<Page<Action, ActionKey>, Error> {
    let (acted_at, id) = (after.map(|key| key.acted_at), after.map(|key| key.id));
    let one_more = limit + 1;
    let rows: Vec<Row> = match scope {
        Scope::All => {
            let page = OfAll {
                before: id,
                limit: one_more,
            };
            page.load(conn).await?
        }
        Scope::Machine(machine, process) => {
            let page = OfMachine {
                machine,
                process,
                acted_at,
                id,
                limit: one_more,
            };
            page.load(conn).await?
        }
        Scope::Session(session) => {
            let page = OfSession {
                session,
                acted_at,
                id,
                limit: one_more,
            };
            page.load(conn).await?
        }
        Scope::Process(process) => {
            let page = OfProcess {
                process,
                before: id,
                limit: one_more,
            };
            page.load(conn).await?
        }
    };
    let rows = rows.into_iter().map(action).collect();
    Ok(Page::of(rows, limit, ActionKey::of))
}
