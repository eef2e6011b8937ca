//! `bmdb work list`: claimed work, with its session and the time since the claim.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Table, Text, Time, Tone, WHOLE, answer, interval};
use crate::paging::{Item, List, Listing};
use crate::{validate, watch};
use bmdb_backoff::Seconds;
use bmdb_model::work::{self, ClaimedFilter, ClaimedWork, STUCK_AFTER};
use bmdb_model::{Lane, MachineId, Process, SessionId};
use std::time::Duration;

/// List claimed work by machine.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb work list --watch
  bmdb work list --stuck
  bmdb work list --process ShepherdRecovery --claimed-for 10m")]
pub(crate) struct ListArgs {
    /// Only this process.
    #[arg(long, value_name = "PROCESS")]
    process: Option<Process>,
    /// Only work that this session has claimed.
    #[arg(long, value_name = "SESSION")]
    session: Option<SessionId>,
    /// Only work that has been claimed for at least this long.
    #[arg(long, value_name = "INTERVAL", value_parser = watch::interval)]
    claimed_for: Option<Seconds>,
    /// Only stuck work: claimed for at least one hour.
    #[arg(long, conflicts_with = "claimed_for")]
    stuck: bool,
    #[command(flatten)]
    listing: Listing,
}

answer! {
    /// A claimed work item.
    pub(crate) struct Claimed from work: ClaimedWork {
        machine_id: Text<MachineId> = Text(work.machine),
        process: Text<Process> = Text(work.process),
        lane: Text<Lane> = Text(work.lane),
        session_id: Text<SessionId> = Text(work.session),
        component: String = work.component,
        /// Whether the session's deadline is in the future.
        is_live: bool = work.is_live,
        fence: i64 = work.fence.get(),
        started_at: Time = Time(work.started_at),
        claimed_seconds: i64 = work.claimed_seconds,
        /// When it became due before it was claimed.
        due_since: Option<Time> = work.due_since.map(Time),
        /// The number of this attempt since the last success, from 1.
        attempt: i64 = (work.failures.saturating_add(work.losses)).saturating_add(1),
    }
}

impl ListArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let reader = context.reader().await?;
        validate::process(reader, self.process.as_ref()).await?;
        let filter = ClaimedFilter {
            component: None,
            process: self.process,
            session: self.session,
            claimed_for: match self.stuck {
                true => Some(STUCK_AFTER),
                false => self.claimed_for.map(Duration::from),
            },
        };
        let page = async |after: Option<_>, limit| {
            let read = reader
                .read(async |conn| Ok(work::claimed(conn, &filter, after.as_ref(), limit).await?));
            Ok(List::of(read.await?))
        };
        self.listing.show::<Claimed, _>(context, page).await
    }
}

impl Item for Claimed {
    const EMPTY: &'static str = "No claimed work.";

    fn table() -> Table {
        let columns = [
            "MACHINE",
            "PROCESS",
            "FENCE",
            "CLAIMED",
            "SINCE",
            "WAITED",
            "ATTEMPT",
            "COMPONENT",
            "SESSION",
        ];
        Table::new(columns).flexible([
            ("SESSION", 9),
            // CLAIMED shows the same time as an interval.
            ("SINCE", WHOLE),
            ("WAITED", WHOLE),
            ("ATTEMPT", WHOLE),
            ("COMPONENT", 12),
            ("PROCESS", 26),
        ])
    }

    fn cells(&self, now: Time) -> Vec<Cell> {
        // Negative if the database's clock was set back since the claim.
        let claimed = u64::try_from(self.claimed_seconds).unwrap_or(0);
        let is_stuck = claimed >= STUCK_AFTER.as_secs();
        let claimed = Cell::number(interval(self.claimed_seconds));
        let waited = self.due_since.map(|due| self.started_at.0 - due.0);
        let waited = waited.map(|waited| interval(waited.num_seconds()));
        vec![
            Cell::machine(self.machine_id),
            Cell::new(&self.process),
            Cell::number(self.fence),
            claimed.tone(if is_stuck { Tone::Bad } else { Tone::Plain }),
            Cell::time(self.started_at, now),
            waited.map_or(Cell::unknown(), Cell::number),
            Cell::number(self.attempt),
            match self.is_live {
                true => Cell::new(&self.component),
                false => Cell::new(format_args!("{} (expired)", self.component)).tone(Tone::Bad),
            },
            Cell::new(self.session_id),
        ]
    }
}
