//! The statement behind the gates, and the conversion of its rows.

use super::gate::{Backoff, CurrentClaim, Eligible, Gates, Ready, TagState, View, When, Workflow};
use super::planned::Planned;
use super::view::Said;
use crate::history::{PastAttempt, PastColumns};
use crate::hold::Hold;
use crate::process_control::ProcessGate;
use crate::statement::statement;
use crate::time::Timestamptz;
use crate::work::RestCause;
use crate::{Error, Lane, MachineId, Process, Provider};
use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

type Definition = (Text, Text, Text, Bool, Nullable<Text>, Bool);
type Item = (
    Bool,
    Bool,
    Nullable<Text>,
    Nullable<Timestamptz>,
    Bool,
    BigInt,
    BigInt,
    Nullable<Text>,
    Nullable<BigInt>,
    Nullable<Timestamptz>,
    (BigInt, BigInt, Nullable<(Text, Timestamptz)>),
);
type ClaimColumns = (
    Text,
    SqlUuid,
    Text,
    Text,
    BigInt,
    Timestamptz,
    Timestamptz,
    Bool,
    BigInt,
    Bool,
);
type DefinitionRow = (Process, Lane, Lane, bool, Option<String>, bool);
type ItemRow = (
    bool,
    bool,
    Option<Provider>,
    Option<DateTime<Utc>>,
    bool,
    i64,
    i64,
    Option<String>,
    Option<i64>,
    Option<DateTime<Utc>>,
    (i64, i64, Option<Hold>),
);
statement! {
    Items<'a> = include_str!("../sql/gates_of.sql");
    (machine: MachineId => SqlUuid, process: Option<&'a Process> => Nullable<Text>)
    -> (Timestamptz, Definition, Item, Nullable<ClaimColumns>, Nullable<PastColumns>)
}

pub(super) type Row = (
    DateTime<Utc>,
    DefinitionRow,
    ItemRow,
    Option<CurrentClaim>,
    Option<PastAttempt>,
);

/// Reads the rows of one process, or of every process that is defined or has an item on the machine.
pub(super) async fn read(
    conn: &mut AsyncPgConnection,
    machine: MachineId,
    process: Option<&Process>,
) -> Result<Vec<Row>, Error> {
    Ok(Items { machine, process }.load(conn).await?)
}

pub(super) fn gates(
    machine: MachineId,
    hold: Option<Hold>,
    (at, definition, item, claim, last): Row,
    said: Said,
    tags: Vec<TagState>,
    stops: Vec<ProcessGate>,
) -> Gates {
    let (process, lane, defined_lane, is_defined, workflow, replan_on_claim) = definition;
    let (
        has_item,
        is_eligible,
        provider,
        plan_at,
        never,
        failures,
        losses,
        cause,
        interval,
        until,
        (unproductive, flapping, process_hold),
    ) = item;
    let planned = is_eligible.then(|| When::of(plan_at, never));
    // A claim that replans first follows the view.
    let due = match &said.view {
        View::Lists(when) if replan_on_claim && is_eligible => Some(*when),
        _ => planned,
    };
    let backoff = until.map(|until| Backoff {
        until,
        is_in_force: until > at,
        cause,
        failures,
        losses,
        last_interval_seconds: interval,
        rest: RestCause::of(unproductive, flapping),
    });
    let rest = backoff.as_ref().map_or(When::Now, |b| When::At(b.until));
    let opens = due.unwrap_or(When::Now).max(rest);
    let item = Planned {
        is_eligible,
        planned,
        provider: provider.as_ref(),
        replan_on_claim,
        // Claimed work keeps the lane in which it was claimed.
        moves_lane: has_item && lane != defined_lane && claim.is_none(),
    };
    Gates {
        machine,
        at,
        is_defined,
        has_item,
        not_plannable: None,
        is_stale: item.differs_from(&said, hold.is_some() || process_hold.is_some(), at),
        eligible: Eligible {
            // A claim looks for holds too: one that was written by SQL binds before the item is planned.
            is_open: is_eligible && hold.is_none() && process_hold.is_none(),
            hold,
            process_hold,
            view: said.view,
            tags,
            provider,
        },
        ready: Ready {
            is_open: opens.has_come(at),
            due,
            backoff,
            opens,
        },
        claim,
        stops,
        last,
        silence: None,
        workflow: workflow.map(|view| Workflow {
            view,
            replan_on_claim,
        }),
        process,
        lane,
    }
}
