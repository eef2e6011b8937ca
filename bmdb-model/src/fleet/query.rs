//! The statements of a list, built from its filters.
//!
//! A filter's tag table may be a downstream user's, and a statement with optional conditions has no
//! plan that is good for all of them. So these statements have no fixed text.

use super::closed::ClosedQueues;
use super::cursor::{Cursor, Key, LATEST};
use super::filter::Filter;
use super::source::{CANDIDATES, Source};
use super::sql::{Bind, Sql};
use super::state::ItemState;
use crate::time::Timestamptz;
use crate::{Error, MachineId};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text, Uuid as SqlUuid};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

/// An entry of a source.
#[derive(Debug, Clone, QueryableByName)]
pub(super) struct Entry {
    #[diesel(sql_type = SqlUuid, column_name = machine_id)]
    pub(super) machine: MachineId,
    #[diesel(sql_type = Nullable<Text>)]
    key_text: Option<String>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    key_time: Option<DateTime<Utc>>,
}

/// Reads up to `limit` of the source's next matching entries, among the first `budget` entries.
pub(super) async fn found(
    conn: &mut AsyncPgConnection,
    filter: &Filter<'_>,
    closed: &ClosedQueues,
    source: &Source,
    after: Option<&Cursor>,
    budget: usize,
    limit: usize,
) -> Result<Vec<Entry>, Error> {
    let mut sql = Sql::default();
    let entries = source.entries(&mut sql, filter, after, budget);
    let fits = fits(&mut sql, filter, closed, source);
    let [first, second] = source.order();
    let text = format!(
        "SELECT c.machine_id, c.key_text, c.key_time FROM ({entries}) c \
         WHERE {fits} ORDER BY c.{first}, c.{second} LIMIT {limit}"
    );
    sql.load(conn, text).await
}

/// The filters over a candidate `c`. Each is a scalar subquery: the server does not turn those into
/// joins, which would read a whole table before the first candidate.
fn fits(sql: &mut Sql, filter: &Filter<'_>, closed: &ClosedQueues, source: &Source) -> String {
    let mut fits = vec!["true".to_owned()];
    if let Source::Provided { .. } = source {
        fits.push("c.fits".to_owned());
    } else if let Some(provider) = &filter.provider {
        let provider = sql.bind(Bind::Text(provider.to_string()));
        fits.push(format!(
            "(SELECT p.provider FROM machine_provided p WHERE p.machine_id = c.machine_id) \
             = {provider}"
        ));
    }
    if let (Some(tag), false) = (filter.tag, matches!(source, Source::Tagged)) {
        let table = tag.quoted();
        fits.push(format!(
            "(SELECT true FROM {table} t WHERE t.machine_id = c.machine_id)"
        ));
    }
    if let (Some((process, state)), false) = (&filter.state, source.implies_state()) {
        let process = sql.bind(Bind::Text(process.to_string()));
        let without_row = *state == ItemState::NotEligible;
        // Claimed work is listed by machine and lane; a machine's process is claimed in one of its
        // lanes.
        let lane = match source {
            Source::Claimed => "AND i.lane = c.key_text",
            _ => "",
        };
        let condition = state.condition();
        let of_queue = match state.is_of_queue() {
            true => closed.condition(sql, *state),
            false => "true".to_owned(),
        };
        fits.push(format!(
            "coalesce((SELECT {condition} AND {of_queue} FROM work_item i \
             WHERE i.machine_id = c.machine_id AND i.process = {process} {lane}), {without_row})"
        ));
    }
    fits.join(" AND ")
}

/// The first `wanted` entries of `found`, and the cursor after them.
pub(super) fn shown(found: Vec<Entry>, wanted: usize, source: &Source) -> (Vec<MachineId>, Cursor) {
    let shown = &found[..wanted.min(found.len())];
    let last = shown.last().map(|last| cursor(source, last));
    let machines = shown.iter().map(|entry| entry.machine).collect();
    (machines, last.unwrap_or_else(|| source.start()))
}

/// The cursor after an entry.
fn cursor(source: &Source, entry: &Entry) -> Cursor {
    let machine = entry.machine;
    let text = entry.key_text.clone().unwrap_or_default();
    let time = entry.key_time.unwrap_or_default();
    Cursor(match source {
        Source::Machines(_) => Key::Machine(machine),
        Source::Tagged => Key::Tagged(machine),
        Source::Claimed => Key::Claimed(machine, text),
        Source::BackingOff(_) => Key::BackingOff(time, machine),
        Source::Queue { provider, .. } => Key::Queued(provider.clone(), time, machine),
        Source::Provided { provider, .. } => Key::Provided(provider.clone(), text),
    })
}

/// What was read of a source in which too few entries match.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) entries: usize,
    /// Where there may be more; `None` if everything was read.
    pub(super) go_on: Option<Cursor>,
    pub(super) left_out: bool,
}

#[derive(QueryableByName)]
struct LastRow {
    #[diesel(embed)]
    entry: Entry,
    #[diesel(sql_type = BigInt)]
    entries: i64,
}

#[derive(QueryableByName)]
struct WindowRow {
    #[diesel(sql_type = BigInt)]
    entries: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    first: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    last: Option<DateTime<Utc>>,
}

pub(super) async fn seen(
    conn: &mut AsyncPgConnection,
    filter: &Filter<'_>,
    source: &Source,
    after: Option<&Cursor>,
    budget: usize,
) -> Result<Seen, Error> {
    if let Source::Queue { provider, .. } = source {
        return seen_of_queue(conn, source, provider.as_ref(), after).await;
    }
    let mut sql = Sql::default();
    let entries = source.entries(&mut sql, filter, after, budget);
    let [first, second] = source.order();
    let text = format!(
        "SELECT c.machine_id, c.key_text, c.key_time, count(*) OVER () AS entries \
         FROM ({entries}) c ORDER BY c.{first} DESC, c.{second} DESC LIMIT 1"
    );
    let last: Option<LastRow> = sql.load(conn, text).await?.pop();
    let entries = last.as_ref().map_or(0, |last| last.entries);
    let entries = usize::try_from(entries).unwrap_or(budget);
    Ok(Seen {
        entries,
        go_on: last
            .filter(|_| entries >= budget)
            .map(|last| cursor(source, &last.entry)),
        left_out: false,
    })
}

async fn seen_of_queue(
    conn: &mut AsyncPgConnection,
    source: &Source,
    provider: Option<&crate::Provider>,
    after: Option<&Cursor>,
) -> Result<Seen, Error> {
    let mut sql = Sql::default();
    let window = source.window(&mut sql, after);
    let text = format!(
        "SELECT count(*) AS entries, min(ready_at) AS first, max(ready_at) AS last \
         FROM ({window}) w"
    );
    let row: Option<WindowRow> = sql.load(conn, text).await?.pop();
    let Some(WindowRow {
        entries,
        first: Some(first),
        last: Some(last),
    }) = row
    else {
        return Ok(Seen {
            entries: 0,
            go_on: None,
            left_out: false,
        });
    };
    let entries = usize::try_from(entries).unwrap_or(CANDIDATES);
    let full = entries >= CANDIDATES;
    let one_moment = first == last;
    // Times are whole microseconds, so the next moment is one later.
    let next = if one_moment {
        last + TimeDelta::microseconds(1)
    } else {
        last
    };
    let go_on = Key::Queued(provider.cloned(), next, MachineId::from(Uuid::nil()));
    Ok(Seen {
        entries,
        // No entry is later than those that never become due.
        go_on: (full && next <= LATEST).then_some(Cursor(go_on)),
        left_out: full && one_moment,
    })
}
