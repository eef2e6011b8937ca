//! `bmdb backoff list`: backoffs by when they end.

use crate::context::Context;
use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Text, Time, WHOLE, interval};
use crate::paging::{ListAt, Paging};
use crate::validate;
use crate::watch::Watch;
use bmdb_core::Reader;
use bmdb_model::backoff::{self, BackoffKey, ListedBackoff, Which};
use bmdb_model::{MachineId, Process, Provider};
use serde::Serialize;

/// List backoffs in force, the one that ends first first.
///
/// Work that is being done is no backoff: `bmdb work list`.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb backoff list
  bmdb backoff list --expired --process ShepherdRecovery")]
pub(crate) struct ListArgs {
    /// Those whose time has passed and whose work nobody has claimed since, the one that ended last first.
    #[arg(long)]
    expired: bool,
    /// Only of this process.
    #[arg(long, value_name = "PROCESS")]
    process: Option<Process>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    pub(crate) watch: Watch,
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
    /// Whether the machine still needs the process.
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
        let which = if self.expired {
            Which::Expired
        } else {
            Which::Active
        };
        let process = self.process.as_ref();
        validate::process(context.reader().await?, process).await?;
        let page = async |reader: &Reader, after: Option<&BackoffKey>, limit| {
            let page = reader
                .read(async |conn| Ok(backoff::page(conn, which, process, after, limit).await?));
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
            page.note("No such backoff.");
            return;
        }
        let columns = [
            "MACHINE", "PROCESS", "UNTIL", "FAILURES", "LOSSES", "INTERVAL", "CAUSE",
        ];
        let mut table = Table::new(columns).yielding([
            ("INTERVAL", WHOLE),
            ("LOSSES", WHOLE),
            ("FAILURES", WHOLE),
            ("CAUSE", 18),
        ]);
        for backoff in &self.list.items {
            table.row([
                Cell::machine(backoff.machine_id),
                Cell::new(&backoff.process),
                Cell::time(backoff.until, self.at),
                Cell::number(backoff.failures),
                Cell::number(backoff.losses),
                Cell::optional(backoff.last_interval_seconds.map(interval)),
                Cell::optional(backoff.cause.as_ref()),
            ]);
        }
        page.table(table);
        self.list.show_rest(page);
    }
}
