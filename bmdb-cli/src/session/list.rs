//! `bmdb session list`: all sessions, the newest first.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Text, Time, Tone, WHOLE, interval};
use crate::paging::{ListAt, Paging};
use crate::watch::Watch;
use bmdb_core::Reader;
use bmdb_model::SessionId;
use bmdb_model::session::{self, ClaimedCount, ListedSession, SessionKey};
use serde::Serialize;

/// List sessions, the newest first.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb session list
  bmdb session list --json | jq -r '.items[] | select(.is_live | not).session_id'")]
pub(crate) struct ListArgs {
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    pub(crate) watch: Watch,
}

/// A session, as `list` and `show` tell of it.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    pub(super) session_id: Text<SessionId>,
    pub(super) component: String,
    pub(super) runtime_info: String,
    pub(super) created_at: Time,
    pub(super) interval_seconds: i64,
    pub(super) deadline: Time,
    /// Whether the deadline is ahead.
    pub(super) is_live: bool,
    /// How many work items it holds.
    pub(super) holds: i64,
    /// Whether it may hold more than were counted.
    pub(super) holds_more: bool,
}

impl From<ListedSession> for Listed {
    fn from(listed: ListedSession) -> Self {
        let (holds, holds_more) = match listed.claimed {
            ClaimedCount::Exactly(items) => (items, false),
            ClaimedCount::AtLeast(items) => (items, true),
        };
        Self {
            session_id: Text(listed.row.id),
            component: listed.row.component_name,
            runtime_info: listed.row.runtime_info,
            created_at: Time(listed.row.created_at),
            interval_seconds: listed.row.interval_seconds,
            deadline: Time(listed.row.deadline),
            is_live: listed.is_live,
            holds,
            holds_more,
        }
    }
}

impl Listed {
    pub(super) fn held(&self) -> String {
        let more = if self.holds_more { "+" } else { "" };
        format!("{}{more}", self.holds)
    }
}

impl ListArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let page = async |reader: &Reader, after: Option<&SessionKey>, limit| {
            let page = reader.read(async |conn| Ok(session::page(conn, after, limit).await?));
            page.await
        };
        self.paging
            .watch::<Listed, _, _>(&self.watch, context, page)
            .await
    }
}

impl Report for ListAt<Listed> {
    fn show(&self, page: &mut Page) {
        if self.list.items.is_empty() {
            page.note(
                "No session: no component is running. `bmdb run --help` tells how to start one.",
            );
            return;
        }
        let columns = [
            "SESSION",
            "COMPONENT",
            "STATE",
            "HOLDS",
            "STARTED",
            "INTERVAL",
            "WHERE",
        ];
        let mut table =
            Table::new(columns).yielding([("WHERE", 12), ("INTERVAL", WHOLE), ("COMPONENT", 16)]);
        for session in &self.list.items {
            let state = match session.is_live {
                true => Cell::new("live").tone(Tone::Good),
                false => Cell::new("expired").tone(Tone::Bad),
            };
            table.row([
                Cell::new(session.session_id),
                Cell::new(&session.component),
                state,
                Cell::number(session.held()),
                Cell::time(session.created_at, self.at),
                Cell::new(interval(session.interval_seconds)),
                Cell::new(&session.runtime_info),
            ]);
        }
        page.table(table);
        self.list.show_rest(page);
    }
}
