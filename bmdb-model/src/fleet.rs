//! The fleet as a list: machines that match filters, a page at a time.
//!
//! A page reads a bounded number of rows, whatever the size of the fleet. It scans the index that fits
//! the filters best, in that index's order, and reads at most [`CANDIDATES`] entries. If too few of
//! them match, the page says where to continue. `source.rs` chooses the index.

mod closed;
mod cursor;
mod entries;
mod filter;
mod query;
mod row;
mod source;
mod sql;
mod state;

pub use cursor::{Cursor, InvalidCursor};
pub use filter::{Filter, Prefix};
pub use row::{FleetItem, FleetMachine, details};
pub use source::{CANDIDATES, providers};
pub use state::{InvalidState, ItemState};

pub(crate) use closed::CLOSED;

use crate::{Error, MachineId};
use closed::ClosedQueues;
use diesel_async::AsyncPgConnection;
use source::Source;

/// A page of [`page`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FleetPage {
    /// In the order of the index.
    pub machines: Vec<MachineId>,
    /// Where the next page begins; `None` after the last page.
    pub next: Option<Cursor>,
    /// How many candidates were read, if fewer machines matched than a page holds.
    pub looked_at: Option<usize>,
    /// More than [`CANDIDATES`] machines became due at the same microsecond, and only that many are
    /// listed. Filter by a prefix to see the others.
    pub left_out: bool,
}

/// The cursor belongs to a list with other filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this page belongs to a list with other filters; start from the first page")]
pub struct OtherList;

/// Why [`page`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The cursor belongs to another list.
    #[error(transparent)]
    OtherList(#[from] OtherList),
    /// A statement failed.
    #[error(transparent)]
    Database(#[from] Error),
}

/// Lists up to `limit` matching machines after `after`.
///
/// # Errors
/// [`PageError`].
pub async fn page(
    conn: &mut AsyncPgConnection,
    filter: &Filter<'_>,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<FleetPage, PageError> {
    let closed = match &filter.state {
        Some((process, state)) if state.is_of_queue() => {
            ClosedQueues::read(conn, Some(process)).await?
        }
        _ => ClosedQueues::default(),
    };
    let sources = source::of(conn, filter, &closed, after).await?;
    let first = match after {
        None => 0,
        Some(after) => {
            let of_cursor = sources.iter().position(|source| source.owns(after));
            of_cursor.ok_or(OtherList)?
        }
    };
    let mut page = FleetPage::default();
    let (mut after, mut budget) = (after.cloned(), CANDIDATES);
    for (nth, source) in sources.iter().enumerate().skip(first) {
        let wanted = limit - page.machines.len();
        // One more than wanted shows whether there is a next page.
        let (from, most) = (after.as_ref(), wanted + 1);
        let found = query::found(conn, filter, &closed, source, from, budget, most).await?;
        if found.len() > wanted {
            let (machines, last) = query::shown(found, wanted, source);
            page.machines.extend(machines);
            page.next = Some(last);
            return Ok(page);
        }
        page.machines
            .extend(found.iter().map(|entry| entry.machine));
        let seen = query::seen(conn, filter, source, after.as_ref(), budget).await?;
        page.left_out |= seen.left_out;
        budget = budget.saturating_sub(seen.entries);
        if let Some(next) = seen.go_on {
            page.next = Some(next);
            page.looked_at = Some(CANDIDATES - budget);
            return Ok(page);
        }
        if budget == 0 {
            page.next = sources.get(nth + 1).map(Source::start);
            page.looked_at = page.next.as_ref().map(|_| CANDIDATES);
            return Ok(page);
        }
        after = None;
    }
    Ok(page)
}
