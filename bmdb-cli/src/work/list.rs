//! `bmdb work list`: what is held, by whom, since when.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Text, Time, Tone, WHOLE, interval};
use crate::paging::{ListAt, Paging};
use crate::validate;
use crate::watch::{Watch, interval as parse_interval};
use bmdb_backoff::Seconds;
use bmdb_core::Reader;
use bmdb_model::work::{self, ClaimedFilter, ClaimedKey, ClaimedWork, STUCK_AFTER};
use bmdb_model::{Fence, Lane, MachineId, Process, SessionId};
use serde::Serialize;
use std::time::Duration;

/// List what is being done now, by machine.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb work list --watch
  bmdb work list --stuck
  bmdb work list --process ShepherdRecovery --held-for 10m")]
pub(crate) struct ListArgs {
    /// Only of this process.
    #[arg(long, value_name = "PROCESS")]
    process: Option<Process>,
    /// Only by this session.
    #[arg(long, value_name = "SESSION")]
    session: Option<SessionId>,
    /// Only what has been held for so long.
    #[arg(long, value_name = "INTERVAL", value_parser = parse_interval)]
    held_for: Option<Seconds>,
    /// Only what is stuck: held for an hour.
    #[arg(long, conflicts_with = "held_for")]
    stuck: bool,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    pub(crate) watch: Watch,
}

/// Work that is held.
#[derive(Debug, Serialize)]
pub(crate) struct Held {
    machine_id: Text<MachineId>,
    process: Text<Process>,
    lane: Text<Lane>,
    session_id: Text<SessionId>,
    component: String,
    /// Whether the session's deadline is ahead.
    is_live: bool,
    fence: i64,
    started_at: Time,
    held_seconds: i64,
    /// Since when it was due before it was claimed.
    due_since: Option<Time>,
    /// Which attempt in a row it is.
    attempt: i64,
}

impl From<ClaimedWork> for Held {
    fn from(work: ClaimedWork) -> Self {
        Self {
            machine_id: Text(work.machine),
            process: Text(work.process),
            lane: Text(work.lane),
            session_id: Text(work.session),
            component: work.component,
            is_live: work.is_live,
            fence: Fence::get(work.fence),
            started_at: Time(work.started_at),
            held_seconds: work.claimed_seconds,
            due_since: work.due_since.map(Time),
            attempt: work.failures + work.losses + 1,
        }
    }
}

impl ListArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        validate::process(context.reader().await?, self.process.as_ref()).await?;
        let filter = ClaimedFilter {
            component: None,
            process: self.process.clone(),
            session: self.session,
            claimed_for: match self.stuck {
                true => Some(STUCK_AFTER),
                false => self.held_for.map(Duration::from),
            },
        };
        let page = async |reader: &Reader, after: Option<&ClaimedKey>, limit| {
            let page =
                reader.read(async |conn| Ok(work::claimed(conn, &filter, after, limit).await?));
            page.await
        };
        self.paging
            .watch::<Held, _, _>(&self.watch, context, page)
            .await
    }
}

impl Report for ListAt<Held> {
    fn show(&self, page: &mut Page) {
        show_held(page, &self.list.items, self.at);
        self.list.show_rest(page);
    }
}

/// A table of held work, or that there is none.
pub(crate) fn show_held(page: &mut Page, work: &[Held], now: Time) {
    if work.is_empty() {
        page.note("Nothing is being done.");
        return;
    }
    let columns = [
        "MACHINE",
        "PROCESS",
        "FENCE",
        "HELD",
        "SINCE",
        "WAITED",
        "ATTEMPT",
        "COMPONENT",
        "SESSION",
    ];
    let mut table = Table::new(columns).yielding([
        ("SESSION", 9),
        // HELD says the same.
        ("SINCE", WHOLE),
        ("WAITED", WHOLE),
        ("ATTEMPT", WHOLE),
        ("COMPONENT", 16),
    ]);
    for held in work {
        let stuck = held.held_seconds.unsigned_abs() >= STUCK_AFTER.as_secs();
        let time = Cell::number(interval(held.held_seconds));
        let waited = held
            .due_since
            .map(|due| (held.started_at.0 - due.0).num_seconds());
        let component = match held.is_live {
            true => Cell::new(&held.component),
            false => Cell::new(format_args!("{} (expired)", held.component)).tone(Tone::Bad),
        };
        table.row([
            Cell::machine(held.machine_id),
            Cell::new(&held.process),
            Cell::number(held.fence),
            if stuck { time.tone(Tone::Bad) } else { time },
            Cell::time(held.started_at, now),
            waited.map_or(Cell::unknown(), |waited| Cell::number(interval(waited))),
            Cell::number(held.attempt),
            component,
            Cell::new(held.session_id),
        ]);
    }
    page.table(table);
}
