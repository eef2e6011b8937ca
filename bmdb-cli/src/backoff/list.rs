//! `bmdb backoff list`: backoffs in the order in which they end.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Table, Text, Time, WHOLE, answer, interval};
use crate::paging::{Item, List, Listing};
use crate::validate;
use bmdb_model::backoff::{self, ListedBackoff, Which};
use bmdb_model::{MachineId, Process, Provider};

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

answer! {
    struct Listed from backoff: ListedBackoff {
        machine_id: Text<MachineId> = Text(backoff.machine),
        process: Text<Process> = Text(backoff.process),
        provider: Option<Text<Provider>> = backoff.provider.map(Text),
        until: Time = Time(backoff.until),
        cause: Option<String> = backoff.cause,
        failures: i64 = backoff.failures,
        losses: i64 = backoff.losses,
        last_interval_seconds: Option<i64> = backoff.last_interval_seconds,
        /// Whether the machine's tags still call for the process.
        eligible: bool = backoff.is_eligible,
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
