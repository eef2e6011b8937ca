//! `bmdb history --causes`: why processes fail now, instead of one machine's past.

use crate::failure::Failure;
use crate::output::{Cell, Page, Report, Table, Text, Time, WHOLE, answer};
use crate::validate;
use bmdb_core::Reader;
use bmdb_model::work::{self, FailureCause};
use bmdb_model::{MachineId, Process, Provider, connection};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(super) struct Causes {
    at: Time,
    causes: Vec<Cause>,
    /// Whether there are more than `--limit`.
    is_more: bool,
    /// Whether all failing machines were counted.
    is_all: bool,
}

answer! {
    struct Cause from row: FailureCause {
        process: Text<Process> = Text(row.process),
        provider: Option<Text<Provider>> = row.provider.map(Text),
        cause: Option<String> = row.cause,
        machines: i64 = row.machines,
        failures: i64 = row.failures,
        machine_id: Text<MachineId> = Text(row.machine),
        failed_at: Option<Time> = row.failed_at.map(Time),
    }
}

impl Causes {
    /// Reads up to `limit` causes.
    ///
    /// # Errors
    /// An unknown process; what reading fails with.
    pub(super) async fn read(
        reader: &Reader,
        process: Option<&Process>,
        provider: Option<&Provider>,
        limit: usize,
    ) -> Result<Self, Failure> {
        validate::process(reader, process).await?;
        validate::providers(reader, provider).await?;
        let read = reader.read(async |conn| {
            let at = connection::clock(conn).await?;
            Ok((at, work::causes(conn, process, provider, limit).await?))
        });
        let (at, causes) = read.await?;
        Ok(Self {
            at: Time(at),
            is_more: causes.is_more,
            is_all: causes.is_all,
            causes: causes.rows.into_iter().map(Cause::from).collect(),
        })
    }
}

impl Report for Causes {
    fn show(&self, page: &mut Page) {
        if self.causes.is_empty() {
            return page.note("Nothing is failing now.");
        }
        let header = [
            "MACHINES",
            "PROCESS",
            "PROVIDER",
            "FAILED LAST",
            "FOR EXAMPLE",
            "CAUSE",
        ];
        let mut table = Table::new(header).flexible([
            ("FOR EXAMPLE", WHOLE),
            ("FAILED LAST", WHOLE),
            ("PROVIDER", 8),
            ("PROCESS", 12),
            ("CAUSE", 20),
        ]);
        for cause in &self.causes {
            table.row([
                Cell::number(cause.machines),
                Cell::new(cause.process.clone()),
                Cell::optional(cause.provider.as_ref()),
                cause
                    .failed_at
                    .map_or(Cell::new(""), |at| Cell::time(at, self.at)),
                Cell::machine(cause.machine_id),
                Cell::optional(cause.cause.as_ref()),
            ]);
        }
        page.table(table);
        if self.is_more {
            page.note("There are more causes: --limit shows more.");
        }
        if !self.is_all {
            page.note(
                "Of a process with more than 5000 backoffs, only those that end last are counted.",
            );
        }
    }
}
