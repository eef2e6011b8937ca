//! Lists that are read page by page, each beginning behind the last item of the one before it.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Page, Report, Time};
use crate::watch::Watch;
use bmdb_core::{Reader, TxError};
use bmdb_model::connection;
use clap::Args;
use serde::Serialize;
use std::fmt::Display;
use std::str::FromStr;

/// How many items one page has at most.
const LARGEST: u32 = 1000;

#[derive(Args)]
#[command(next_help_heading = "Paging")]
pub(crate) struct Paging {
    /// How many to list at most.
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=i64::from(LARGEST)))]
    limit: u32,
    /// List what comes behind this: the `next` of the page before.
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// List all, however many there are.
    #[arg(long, conflicts_with = "limit")]
    all: bool,
}

/// A page of a list.
#[derive(Debug, Serialize)]
pub(crate) struct List<T> {
    pub(crate) items: Vec<T>,
    /// Where the next page begins; `None` on the last one.
    pub(crate) next: Option<String>,
}

impl<T> List<T> {
    /// A page of the model's.
    pub(crate) fn of<U: Into<T>, K: Display>(page: bmdb_model::Page<U, K>) -> Self {
        Self {
            items: page.rows.into_iter().map(U::into).collect(),
            next: page.next.map(|next| next.to_string()),
        }
    }

    /// Says where the list goes on, if it does.
    pub(crate) fn show_rest(&self, page: &mut Page) {
        if let Some(next) = &self.next {
            page.note(format_args!("There is more: --after {next}, or --all."));
        }
    }
}

/// A list, and when it was read.
#[derive(Serialize)]
pub(crate) struct ListAt<T> {
    pub(crate) at: Time,
    #[serde(flatten)]
    pub(crate) list: List<T>,
}

/// The place in a list that `--after` names.
pub(crate) fn key<K: FromStr<Err: Display>>(after: Option<&str>) -> Result<Option<K>, Failure> {
    let parsed = after.map(str::parse).transpose();
    parsed.map_err(|error| Failure::usage(format!("--after: {error}")))
}

impl Paging {
    /// Reads a page, or all of them, each by a call that gets the cursor and the number of items.
    pub(crate) async fn list<T>(
        &self,
        read: impl AsyncFn(Option<String>, u32) -> Result<List<T>, Failure>,
    ) -> Result<List<T>, Failure> {
        if !self.all {
            return read(self.after.clone(), self.limit).await;
        }
        let mut items = Vec::new();
        let mut after = self.after.clone();
        loop {
            let page = read(after, LARGEST).await?;
            items.extend(page.items);
            after = page.next;
            if after.is_none() {
                return Ok(List { items, next: None });
            }
        }
    }

    /// Shows pages of the model's, once or again and again, with the database's time.
    pub(crate) async fn watch<T, U, K>(
        &self,
        watch: &Watch,
        context: &Context,
        page: impl AsyncFn(&Reader, Option<&K>, i64) -> Result<bmdb_model::Page<U, K>, TxError>,
    ) -> Result<(), Failure>
    where
        U: Into<T>,
        K: Display + FromStr<Err: Display>,
        ListAt<T>: Report,
    {
        let reader = context.reader().await?;
        let read = async || {
            let at = reader.read(async |conn| Ok(connection::clock(conn).await?));
            let at = Time(at.await?);
            let list = self.list(async |after, limit| {
                let after = key(after.as_deref())?;
                Ok(List::of(page(reader, after.as_ref(), limit.into()).await?))
            });
            Ok(ListAt {
                at,
                list: list.await?,
            })
        };
        watch.show(context, read).await
    }
}
