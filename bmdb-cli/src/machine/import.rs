//! `bmdb machine import`: imports the machines of a file, all or none.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{Cell, Page, Report, Table, Text, answer};
use bmdb_core::fleet::{Fleet, Imported};
use bmdb_core::{Session, TxError};
use bmdb_model::{MachineId, ProvidedMachine, Provider};
use serde::Serialize;
use std::io::Read;
use std::path::PathBuf;

/// Import the machines of a fleet file, all or none.
///
/// The file is JSON: {"machines": [{"provider": "fra1", "provider_id": "rack-a-07"}, …]}. The fields
/// "ip_address", "location" and "machine_id" (a UUID) are optional. Errors name the line and the column. A
/// machine exists already if the database has its provider and provider id. That is an error, unless
/// --skip-existing is given, which leaves such machines as they are.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb machine import fleet.json
  my-inventory --as-json | bmdb machine import -
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

answer! {
    struct Skipped from machine: ProvidedMachine {
        provider: Text<Provider> = Text(machine.provided.provider),
        provider_id: String = machine.provided.provider_id,
        /// The id of the existing machine.
        machine_id: Text<MachineId> = Text(machine.machine_id),
    }
}

/// Carries the result of a dry run out of the transaction that it aborts.
#[derive(Debug, thiserror::Error)]
#[error("a dry run")]
struct DryRun(Imported);

impl Import {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let fleet = self.read().await?;
        let imported = context.with_session(async |session| match self.dry_run {
            true => self.try_out(session, &fleet).await,
            false => self.import(session, &fleet).await,
        });
        let imported = imported.await.map_err(|failure| self.explain(failure))?;
        context.output.report(&Answer {
            dry_run: self.dry_run,
            imported: imported.created.len(),
            skipped: imported.skipped.into_iter().map(Skipped::from).collect(),
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
        let text = tokio::task::spawn_blocking(move || match file.as_os_str() == "-" {
            true => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).map(|_| text)
            }
            false => std::fs::read_to_string(&file),
        });
        let text = text
            .await
            .map_err(|error| Failure::other(error.to_string()))?;
        let name = self.name();
        let text = text.map_err(|error| Failure::usage(format!("{name}: {error}")))?;
        Fleet::parse(&text).map_err(|error| {
            let (line, column, problem) = (error.line, error.column, error.problem);
            Failure::usage(format!("{name}:{line}:{column}: {problem}"))
        })
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
                Cell::new(&skipped.provider),
                Cell::new(&skipped.provider_id),
                Cell::machine(skipped.machine_id),
            ]);
        }
        page.table(table);
    }
}
