//! The command tree: a variant for each noun.

use crate::context::Context;
use crate::exit;
use crate::failure::Failure;
use crate::global::Global;
use crate::{
    backoff, completions, history, janitor, machine, man, migrate, replan, run, serve, session,
    stats, tag, why, work,
};
use clap::{Parser, Subcommand};

/// The command line of the Bare Metal Database.
///
/// Migrates the database, imports machines, runs control loops around commands, shows what happens to
/// machines and why nothing does, and serves the console.
#[derive(Parser)]
#[command(
    name = "bmdb",
    version,
    long_version = long_version(),
    arg_required_else_help = true,
    subcommand_required = true,
    after_long_help = after_help(),
    max_term_width = 100,
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    #[command(subcommand)]
    Migrate(migrate::Migrate),
    #[command(subcommand)]
    Machine(machine::Machine),
    Run(Box<run::Run>),
    #[command(subcommand)]
    Tag(tag::Tag),
    #[command(subcommand)]
    Session(session::Session),
    #[command(subcommand)]
    Work(work::Work),
    #[command(subcommand)]
    Backoff(backoff::Backoff),
    History(history::History),
    Why(why::Why),
    Stats(stats::Stats),
    Janitor(janitor::Janitor),
    Replan(replan::Replan),
    Serve(serve::Serve),
    Completions(completions::Completions),
    Man(man::Manual),
}

impl Command {
    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        match self {
            Self::Migrate(migrate) => migrate.run(context).await,
            Self::Machine(machine) => machine.run(context).await,
            Self::Run(run) => run.run(context).await,
            Self::Tag(tag) => tag.run(context).await,
            Self::Session(session) => session.run(context).await,
            Self::Work(work) => work.run(context).await,
            Self::Backoff(backoff) => backoff.run(context).await,
            Self::History(history) => history.run(context).await,
            Self::Why(why) => why.run(context).await,
            Self::Stats(stats) => stats.run(context).await,
            Self::Janitor(janitor) => janitor.run(context).await,
            Self::Replan(replan) => replan.run(context).await,
            Self::Serve(serve) => serve.run(context).await,
            Self::Completions(completions) => completions.run(context),
            Self::Man(manual) => manual.run(context),
        }
    }

    /// Whether it goes on until it is told to end and tells of it on standard error, as a service does.
    pub(crate) const fn runs_for_good(&self) -> bool {
        match self {
            Self::Janitor(janitor) => janitor.runs_for_good(),
            Self::Serve(_) => true,
            _ => false,
        }
    }

    /// Whether it holds leases or serves, which no reader of its log may hold up.
    pub(crate) const fn waits_for_nobody(&self) -> bool {
        matches!(self, Self::Run(_)) || self.runs_for_good()
    }

    /// Whether it minds Ctrl-C and SIGTERM itself; elsewhere Ctrl-C ends the program with 130.
    pub(crate) const fn handles_signals(&self) -> bool {
        match self {
            Self::Stats(stats) => stats.watch.is_on(),
            Self::Machine(machine) => machine.watches(),
            Self::Session(session) => session.is_watching(),
            Self::Work(work) => work.is_watching(),
            Self::Backoff(backoff) => backoff.is_watching(),
            Self::Janitor(janitor) => janitor.runs_for_good(),
            Self::Run(_) | Self::Serve(_) => true,
            _ => false,
        }
    }
}

fn long_version() -> String {
    format!(
        "{}\nschema {}, with PostgreSQL 14 or newer",
        env!("CARGO_PKG_VERSION"),
        bmdb_model::migration::newest_known()
    )
}

fn after_help() -> String {
    format!(
        "\
Examples:
  bmdb migrate up               set up or upgrade the database
  bmdb machine import FILE      bring machines in
  bmdb stats --watch            the fleet in numbers, again and again
  bmdb stats --json | jq .      the same for programs

Environment:
  BMDB_DATABASE_URL   the database, as --database-url; else PGHOST, PGDATABASE, … as for psql
  BMDB_OPERATOR       who acts, as --as; else user@host
  RUST_LOG            what is told on standard error, such as bmdb_core=debug
  NO_COLOR            no colours; CLICOLOR_FORCE=1: colours also into pipes

{}",
        exit::HELP
    )
}
