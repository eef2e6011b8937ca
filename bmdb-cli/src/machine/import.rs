//! `bmdb machine import`: imports the machines of a file, all or none.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{Cell, Page, Report, Table, Text};
use bmdb_core::fleet::{Fleet, FleetError, Imported};
use bmdb_core::{Session, TxError};
use bmdb_model::{MachineId, ProvidedMachine, Provider};
use serde::Serialize;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The most bytes of a file, so that a mistake such as /dev/zero ends.
const LARGEST: u64 = 512 << 20;

/// Import the machines of a fleet file, all or none.
///
/// The file is JSON: {"machines": [{"provider": "fra1", "provider_id": "rack-a-07"}, …]}. The fields
/// "ip_address", "location", "reservation_id", "status", "hold" and "machine_id" (a UUID) are optional. The
/// answers of `bmdb machine list --json` and `machine show --json` can be imported too. Errors name the line
/// and the column. A machine exists already if the database has its provider and provider id. That is an
/// error, unless --skip-existing is given, which leaves such machines as they are.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb machine import fleet.json
  my-inventory --as-json | bmdb machine import -
  bmdb machine list --all --json > fleet.json
  bmdb machine import --skip-existing --dry-run fleet.json

Exit codes: 2 the file is invalid, 4 a machine exists already; then nothing is imported")]
pub(crate) struct Import {
    /// The file; - is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Skip machines that exist already.
    #[arg(long)]
    skip_existing: bool,
    /// Check the file and the database, but import nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    by: Operator,
}

#[derive(Serialize)]
struct Answer {
    dry_run: bool,
    /// How many machines were imported, or would be.
    imported: usize,
    /// Machines that existed already.
    skipped: Vec<Skipped>,
}

#[derive(Serialize)]
struct Skipped {
    provider: Option<Text<Provider>>,
    provider_id: Option<String>,
    /// The id of the existing machine.
    machine_id: Text<MachineId>,
}

impl From<ProvidedMachine> for Skipped {
    fn from(machine: ProvidedMachine) -> Self {
        Self {
            provider: Some(Text(machine.provided.provider)),
            provider_id: Some(machine.provided.provider_id),
            machine_id: Text(machine.machine_id),
        }
    }
}

impl From<MachineId> for Skipped {
    fn from(machine: MachineId) -> Self {
        Self {
            provider: None,
            provider_id: None,
            machine_id: Text(machine),
        }
    }
}

/// Carries the result of a dry run out of the transaction that it aborts.
#[derive(Debug, thiserror::Error)]
#[error("a dry run")]
struct DryRun(Imported);

impl Import {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let fleet = self.read().await?;
        for note in fleet.notes() {
            context.output.note(note);
        }
        let imported = context.with_session(async |session| match self.dry_run {
            true => self.try_out(session, &fleet).await,
            false => self.import(session, &fleet).await,
        });
        let imported = imported.await.map_err(|failure| self.explain(failure))?;
        context.output.report(&Answer {
            dry_run: self.dry_run,
            imported: imported.created.len(),
            skipped: (imported.skipped.into_iter().map(Skipped::from))
                .chain(
                    imported
                        .skipped_without_provider
                        .into_iter()
                        .map(Skipped::from),
                )
                .collect(),
        })
    }

    async fn import(&self, session: &Session, fleet: &Fleet) -> Result<Imported, Failure> {
        let operator = self.by.operator();
        Ok(match self.skip_existing {
            true => operator.import_unknown(session, fleet).await?,
            false => operator.import(session, fleet).await?,
        })
    }

    /// Imports in a transaction that is rolled back at its end.
    async fn try_out(&self, session: &Session, fleet: &Fleet) -> Result<Imported, Failure> {
        let tried = session.transact(async |tx| {
            let imported = match self.skip_existing {
                true => tx.import_unknown(fleet).await?,
                false => tx.import_fleet(fleet).await?,
            };
            Err::<Imported, _>(TxError::abort(DryRun(imported)))
        });
        match tried.await {
            Err(TxError::Aborted(reason)) => match reason.downcast::<DryRun>() {
                Ok(dry_run) => Ok(dry_run.0),
                Err(reason) => Err(TxError::Aborted(reason).into()),
            },
            other => Ok(other?),
        }
    }

    async fn read(&self) -> Result<Fleet, Failure> {
        let file = self.file.clone();
        // Reading standard input may block for as long as a person types.
        let bytes = tokio::task::spawn_blocking(move || contents(&file));
        let bytes = bytes
            .await
            .map_err(|error| Failure::other(error.to_string()))?;
        let name = self.name();
        let bytes = bytes.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
        Fleet::read(&bytes).map_err(|error| Failure::usage(listed(&name, &error)))
    }

    fn name(&self) -> String {
        match self.file.as_os_str() == "-" {
            true => "standard input".to_owned(),
            false => self.file.display().to_string(),
        }
    }

    fn explain(&self, failure: Failure) -> Failure {
        match failure.exit() {
            Exit::Conflict if !self.skip_existing => {
                failure.hint("nothing was imported; --skip-existing skips machines that exist")
            }
            _ => failure,
        }
    }
}

/// The bytes of the file, up to one more than may be read.
fn contents(file: &Path) -> std::io::Result<Vec<u8>> {
    let input: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(std::fs::File::open(file)?),
    };
    let mut bytes = Vec::new();
    let read = input.take(LARGEST + 1).read_to_end(&mut bytes)?;
    match u64::try_from(read) {
        Ok(..=LARGEST) => Ok(bytes),
        _ => Err(std::io::Error::other(
            "larger than 512 MiB: import it in several files",
        )),
    }
}

/// All problems of a file, one on each line.
fn listed(name: &str, error: &FleetError) -> String {
    let problems = error.problems().iter().map(|problem| {
        let (line, column, problem) = (problem.line, problem.column, &problem.problem);
        format!("{name}:{line}:{column}: {problem}")
    });
    let mut text = problems.collect::<Vec<_>>().join("\n  ");
    if error.further() > 0 {
        text += &format!("\n  and {} further problems", error.further());
    }
    text
}

impl Report for Answer {
    fn show(&self, page: &mut Page) {
        let verb = match self.dry_run {
            true => "would import",
            false => "imported",
        };
        page.line(format_args!("{verb} {} machines", self.imported));
        if self.skipped.is_empty() {
            return;
        }
        page.line(format_args!("existed already: {}", self.skipped.len()));
        let mut table = Table::new(["PROVIDER", "PROVIDER ID", "MACHINE"]);
        for skipped in &self.skipped {
            table.row([
                Cell::optional(skipped.provider.as_ref()),
                Cell::optional(skipped.provider_id.as_ref()),
                Cell::machine(skipped.machine_id),
            ]);
        }
        page.table(table);
    }
}
