//! The fleet as a list: machines that fit filters, a page at a time.
//!
//! A page reads a bounded number of rows whatever the size of the fleet. It goes down the index that
//! fits the filters best, in that index's order, and looks at [`CANDIDATES`] entries at most; where too
//! few of them fit, it says where to go on. Which index that is, `source.rs` says.

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

use crate::{Error, MachineId};
use diesel_async::AsyncPgConnection;
use source::Source;

/// The machines of a page.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FleetPage {
    /// In the order of the index that was gone down.
    pub machines: Vec<MachineId>,
    /// Where to go on; `None` after the last page.
    pub next: Option<Cursor>,
    /// How many candidates were looked at where fewer than a page's machines fit.
    pub looked_at: Option<usize>,
    /// More than [`CANDIDATES`] machines have been due since the very same moment, of which only so many
    /// are listed: filter by a prefix to see the others.
    pub left_out: bool,
}

/// A cursor that does not belong to the filters it came with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this page belongs to a list with other filters; start from the first page")]
pub struct OtherList;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PageError {
    /// The cursor is none of this list's.
    #[error(transparent)]
    OtherList(#[from] OtherList),
    /// A statement failed.
    #[error(transparent)]
    Database(#[from] Error),
}

/// Up to `limit` machines that fit, after `after`.
///
/// # Errors
/// [`PageError`].
pub async fn page(
    conn: &mut AsyncPgConnection,
    filter: &Filter<'_>,
    after: Option<&Cursor>,
    limit: usize,
) -> Result<FleetPage, PageError> {
    let sources = source::of(conn, filter, after).await?;
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
        // One more, to know whether there is a next page.
        let found = query::found(conn, filter, source, after.as_ref(), budget, wanted + 1).await?;
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
