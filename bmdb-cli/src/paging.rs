//! Lists that are read page by page, and printed once or repeatedly.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Time};
use crate::watch::Watch;
use bmdb_model::connection;
use clap::Args;
use serde::Serialize;
use std::fmt::Display;
use std::str::FromStr;

/// The most items that one page has.
const PAGE_LIMIT: u32 = 1000;

/// The arguments of a list that can be watched.
#[derive(Args)]
pub(crate) struct Listing {
    #[command(flatten)]
    watch: Watch,
    #[command(flatten)]
    paging: Paging,
}

#[derive(Args)]
#[command(next_help_heading = "Paging")]
pub(crate) struct Paging {
    /// List at most this many items.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(PAGE_LIMIT)))]
    limit: u32,
    /// Continue behind the previous page: its `next`.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// List all items.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct List<T> {
    pub(crate) items: Vec<T>,
    /// The cursor of the next page; `None` on the last page.
    pub(crate) next: Option<String>,
}

impl<T> List<T> {
    pub(crate) fn new<U: Into<T>, K: Display>(rows: Vec<U>, next: Option<K>) -> Self {
        Self {
            items: rows.into_iter().map(U::into).collect(),
            next: next.map(|next| next.to_string()),
        }
    }

    /// A page that the model has read.
    pub(crate) fn of<U: Into<T>, K: Display>(page: bmdb_model::Page<U, K>) -> Self {
        Self::new(page.rows, page.next)
    }

    /// Says how to continue, unless this is the last page.
    pub(crate) fn show_next(&self, page: &mut Page) {
        if let Some(next) = &self.next {
            page.note(format_args!("Next page: --after {next}. All items: --all."));
        }
    }
}

/// An item of a list: a row of a table.
pub(crate) trait Item: Serialize {
    /// The note for an empty list.
    const EMPTY: &'static str;

    fn table() -> Table;

    /// `now`: the database's time when the list was read.
    fn cells(&self, now: Time) -> Vec<Cell>;
}

/// Shows items as a table, or the note for an empty list.
pub(crate) fn show_items<T: Item>(page: &mut Page, items: &[T], now: Time) {
    if items.is_empty() {
        return page.note(T::EMPTY);
    }
    let mut table = T::table();
    for item in items {
        table.row(item.cells(now));
    }
    page.table(table);
}

/// A page of a list and the time when it was read.
#[derive(Serialize)]
pub(crate) struct ListAt<T> {
    pub(crate) at: Time,
    #[serde(flatten)]
    pub(crate) list: List<T>,
}

impl<T: Item> Report for ListAt<T> {
    fn show(&self, page: &mut Page) {
        match (self.list.items.is_empty(), &self.list.next) {
            (true, Some(_)) => page.note("Nothing found so far."),
            _ => show_items(page, &self.list.items, self.at),
        }
        self.list.show_next(page);
    }
}

impl Paging {
    /// How many items are asked for, of a list that has no pages.
    pub(crate) fn limit(&self) -> usize {
        usize::try_from(self.limit).unwrap_or(usize::MAX)
    }

    /// Reads one page, or all of them, with a call that gets the cursor and the number of items.
    ///
    /// # Errors
    /// An `--after` that is not a cursor of this list; what `read` fails with.
    pub(crate) async fn list<T, K: FromStr<Err: Display>>(
        &self,
        read: impl AsyncFn(Option<K>, i64) -> Result<List<T>, Failure>,
    ) -> Result<List<T>, Failure> {
        let read = async |after: Option<&str>, limit: u32| {
            let after = after.map(str::parse).transpose();
            let after = after.map_err(|error| Failure::usage(format!("--after: {error}")))?;
            read(after, limit.into()).await
        };
        if !self.all {
            return read(self.after.as_deref(), self.limit).await;
        }
        let mut items = Vec::new();
        let mut after = self.after.clone();
        loop {
            let page = read(after.as_deref(), PAGE_LIMIT).await?;
            items.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(List { items, next: None });
            }
        }
    }
}

impl Listing {
    /// Shows pages once or repeatedly, with the database's time.
    pub(crate) async fn show<T: Item, K: FromStr<Err: Display>>(
        &self,
        context: &Context,
        read: impl AsyncFn(Option<K>, i64) -> Result<List<T>, Failure>,
    ) -> Result<(), Failure> {
        let reader = context.reader().await?;
        let read = async || {
            let at = reader.read(async |conn| Ok(connection::clock(conn).await?));
            Ok(ListAt {
                at: Time(at.await?),
                list: self.paging.list(&read).await?,
            })
        };
        self.watch.show(context, read).await
    }
}
