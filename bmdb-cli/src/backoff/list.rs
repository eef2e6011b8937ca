//! `bmdb backoff list`: backoffs in the order in which they end.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Table, Text, Time, WHOLE, interval};
use crate::paging::{Item, List, Listing};
use crate::validate;
use bmdb_model::backoff::{self, ListedBackoff, Which};
use bmdb_model::{MachineId, Process, Provider};
use serde::Serialize;

/// List active backoffs, the one that ends first at the top.
///
/// Claimed work has no backoff: see `bmdb work list`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb backoff list
  bmdb backoff list --expired --process ShepherdRecovery")]
pub(crate) struct ListArgs {
    /// List backoffs that have ended and were not claimed since, the one that ended last at the top.
    #[arg(long)]
    expired: bool,
    /// Only this process.
    #[arg(long, value_name = "PROCESS")]
    process: Option<Process>,
    #[command(flatten)]
    listing: Listing,
}

#[derive(Serialize)]
struct Listed {
    machine_id: Text<MachineId>,
    process: Text<Process>,
    provider: Option<Text<Provider>>,
    until: Time,
    cause: Option<String>,
    failures: i64,
    losses: i64,
    last_interval_seconds: Option<i64>,
    /// Whether the machine's tags still call for the process.
    eligible: bool,
}

impl From<ListedBackoff> for Listed {
    fn from(backoff: ListedBackoff) -> Self {
        Self {
            machine_id: Text(backoff.machine),
            process: Text(backoff.process),
            provider: backoff.provider.map(Text),
            until: Time(backoff.until),
            cause: backoff.cause,
            failures: backoff.failures,
            losses: backoff.losses,
            last_interval_seconds: backoff.last_interval_seconds,
            eligible: backoff.is_eligible,
        }
    }
}

impl ListArgs {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let which = match self.expired {
            true => Which::Expired,
            false => Which::Active,
        };
        let (reader, process) = (context.reader().await?, self.process.as_ref());
        validate::process(reader, process).await?;
        let page = async |after: Option<_>, limit| {
            let read = reader.read(async |conn| {
                Ok(backoff::page(conn, which, process, after.as_ref(), limit).await?)
            });
            Ok(List::of(read.await?))
        };
        self.listing.show::<Listed, _>(context, page).await
    }
}

impl Item for Listed {
    const EMPTY: &'static str = "No such backoff.";

    fn table() -> Table {
        let columns = [
            "MACHINE", "PROCESS", "UNTIL", "FAILURES", "LOSSES", "INTERVAL", "CAUSE",
        ];
        Table::new(columns).flexible([
            ("INTERVAL", WHOLE),
            ("LOSSES", WHOLE),
            ("FAILURES", WHOLE),
            ("CAUSE", 18),
        ])
    }

    fn cells(&self, now: Time) -> Vec<Cell> {
        vec![
            Cell::machine(self.machine_id),
            Cell::new(&self.process),
            Cell::time(self.until, now),
            Cell::number(self.failures),
            Cell::number(self.losses),
            Cell::optional(self.last_interval_seconds.map(interval)),
            Cell::optional(self.cause.as_ref()),
        ]
    }
}
