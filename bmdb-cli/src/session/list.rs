//! `bmdb session list`: all sessions, the newest first.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Table, Text, Time, Tone, WHOLE, answer, interval};
use crate::paging::{Item, List, Listing};
use bmdb_model::SessionId;
use bmdb_model::session::{self, ClaimedCount, ListedSession};

/// List sessions, the newest first.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb session list
  bmdb session list --json | jq -r '.items[] | select(.is_live | not).session_id'

The state `overlong` is that of a lease that ends later than it can, because the database's clock was set back. \
`bmdb session show` explains it.")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    listing: Listing,
}

answer! {
    /// A session in `list` and `show`.
    pub(super) struct Listed from listed: ListedSession {
        pub(super) session_id: Text<SessionId> = Text(listed.row.id),
        pub(super) component: String = listed.row.component_name,
        pub(super) runtime_info: String = listed.row.runtime_info,
        pub(super) created_at: Time = Time(listed.row.created_at),
        pub(super) interval_seconds: i64 = listed.row.interval_seconds,
        pub(super) deadline: Time = Time(listed.row.deadline),
        /// Whether the deadline is in the future.
        pub(super) is_live: bool = listed.is_live,
        /// Whether the deadline is farther away than the interval: the database's clock was set back.
        pub(super) is_overlong: bool = listed.is_overlong,
        /// How many work items it has claimed.
        claimed: i64 = match listed.claimed {
            ClaimedCount::Exactly(items) | ClaimedCount::AtLeast(items) => items,
        },
        /// Whether it may have claimed more than were counted.
        claimed_more: bool = matches!(listed.claimed, ClaimedCount::AtLeast(_)),
    }
}

impl Listed {
    /// The number of claimed items for people, such as `7` or `10000+`.
    pub(super) fn claimed(&self) -> String {
        let more = if self.claimed_more { "+" } else { "" };
        format!("{}{more}", self.claimed)
    }
}

impl ListArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let reader = context.reader().await?;
        let page = async |after: Option<_>, limit| {
            let read =
                reader.read(async |conn| Ok(session::page(conn, after.as_ref(), limit).await?));
            Ok(List::of(read.await?))
        };
        self.listing.show::<Listed, _>(context, page).await
    }
}

impl Item for Listed {
    const EMPTY: &'static str =
        "No sessions: no component is running. `bmdb run --help` explains how to start one.";

    fn table() -> Table {
        let columns = [
            "SESSION",
            "COMPONENT",
            "STATE",
            "CLAIMED",
            "STARTED",
            "INTERVAL",
            "WHERE",
        ];
        Table::new(columns).flexible([("WHERE", 12), ("INTERVAL", WHOLE), ("COMPONENT", 16)])
    }

    fn cells(&self, now: Time) -> Vec<Cell> {
        vec![
            Cell::new(self.session_id),
            Cell::new(&self.component),
            match self.is_live {
                true if self.is_overlong => Cell::new("overlong").tone(Tone::Warn),
                true => Cell::new("live").tone(Tone::Good),
                false => Cell::new("expired").tone(Tone::Bad),
            },
            Cell::number(self.claimed()),
            Cell::time(self.created_at, now),
            Cell::new(interval(self.interval_seconds)),
            Cell::new(&self.runtime_info),
        ]
    }
}
