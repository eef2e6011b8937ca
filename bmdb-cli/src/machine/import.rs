//! `bmdb machine import`: a fleet from a file, all of it or nothing.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::operator::Operator;
use crate::output::{Cell, Page, Report, Table, Text};
use bmdb_core::fleet::{Fleet, Imported};
use bmdb_core::{Session, TxError};
use bmdb_model::{MachineId, ProvidedMachine, Provider};
use serde::Serialize;
use std::io::Read;
use std::path::PathBuf;

/// Import machines from a fleet file, all of them or none.
///
/// The file is JSON: {"machines": [{"provider": "Equinix", "provider_id": "8d2b1f0c"}, …]}, where
/// "ip_address", "location" and "machine_id" (a UUID) are optional. What is wrong in it is said with its
/// line and column. A machine that is known already, by its provider and provider's id, is an error that
/// names it, unless --skip-existing is given; what is known stays as it is then.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb machine import fleet.json
  my-inventory --as-json | bmdb machine import -
  bmdb machine import --skip-existing --dry-run fleet.json

Exit codes: 2 the file is wrong, 4 a machine is known already; nothing is imported then")]
pub(crate) struct Import {
    /// The file; - is standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Pass over machines that are known already.
    #[arg(long)]
    skip_existing: bool,
    /// Check the file and the database, and import nothing.
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    operator: Operator,
}

#[derive(Serialize)]
struct Answer {
    /// Whether nothing was written.
    dry_run: bool,
    /// How many machines were imported, or would be.
    imported: usize,
    /// Those that were known already.
    skipped: Vec<Known>,
}

#[derive(Serialize)]
struct Known {
    provider: Text<Provider>,
    provider_id: String,
    /// Under which id.
    machine_id: Text<MachineId>,
}

/// Ends the transaction of a dry run with what it found out.
#[derive(Debug, thiserror::Error)]
#[error("a dry run")]
struct DryRun(Imported);

impl Import {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let fleet = self.read().await?;
        let session = context.session().await?;
        let imported = match self.dry_run {
            true => self.try_out(&session, &fleet).await,
            false => self.import(&session, &fleet).await,
        };
        context.close_session(session).await;
        let imported = imported.map_err(|failure| self.explain(failure))?;
        context.output.report(&Answer {
            dry_run: self.dry_run,
            imported: imported.created.len(),
            skipped: imported.skipped.into_iter().map(Known::from).collect(),
        })
    }

    async fn import(&self, session: &Session, fleet: &Fleet) -> Result<Imported, Failure> {
        let operator = self.operator.acts();
        Ok(match self.skip_existing {
            true => operator.import_unknown(session, fleet).await?,
            false => operator.import(session, fleet).await?,
        })
    }

    /// The same in a transaction that is given up at its end.
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
                Ok(found) => Ok(found.0),
                Err(reason) => Err(TxError::Aborted(reason).into()),
            },
            other => Ok(other?),
        }
    }

    async fn read(&self) -> Result<Fleet, Failure> {
        let file = self.file.clone();
        // Standard input may be a person.
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
        let text = text.map_err(|error| Failure::usage(format!("{}: {error}", self.name())))?;
        Fleet::parse(&text).map_err(|error| {
            let (line, column) = (error.line, error.column);
            Failure::usage(format!(
                "{}:{line}:{column}: {}",
                self.name(),
                error.problem
            ))
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
            Exit::Conflict if !self.skip_existing => failure
                .hint("nothing was imported; --skip-existing passes over what is known already"),
            _ => failure,
        }
    }
}

impl From<ProvidedMachine> for Known {
    fn from(machine: ProvidedMachine) -> Self {
        Self {
            machine_id: Text(machine.machine_id),
            provider: Text(machine.provided.provider),
            provider_id: machine.provided.provider_id,
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
        page.line(format_args!("known already: {}", self.skipped.len()));
        let mut table = Table::new(["PROVIDER", "PROVIDER ID", "MACHINE"]);
        for known in &self.skipped {
            table.row([
                Cell::new(&known.provider),
                Cell::new(&known.provider_id),
                Cell::machine(known.machine_id),
            ]);
        }
        page.table(table);
    }
}
