//! The command tree: a variant for each noun.

use crate::exit;
use crate::global::Global;
use crate::verbs::verbs;
use crate::{
    agent, backoff, completions, history, janitor, machine, man, migrate, process, replan, run,
    serve, session, stats, tag, why, work,
};
use clap::Parser;

/// The command line of the Bare Metal Database.
///
/// Migrates the database, imports machines, runs control loops around commands, shows what happens on
/// machines or why nothing does, and serves the web console.
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

verbs! {
    Command {
        #[command(subcommand)]
        Migrate(migrate::Migrate),
        #[command(subcommand)]
        Machine(machine::Machine),
        Run(Box<run::Run>),
        #[command(subcommand)]
        Process(process::Process),
        #[command(subcommand)]
        Tag(tag::Tag),
        #[command(subcommand)]
        Agent(agent::Agent),
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
}

impl Command {
    /// Whether it runs until a signal ends it and logs what it does, as a service does.
    pub(crate) const fn is_service(&self) -> bool {
        match self {
            Self::Janitor(janitor) => janitor.is_service(),
            Self::Serve(_) => true,
            _ => false,
        }
    }

    /// Whether it must go on if its log is not read, because it holds leases or serves requests.
    pub(crate) fn must_not_wait_for_log(&self) -> bool {
        let holds_lease = match self {
            Self::Run(_) => true,
            Self::Agent(agent) => agent.holds_lease(),
            _ => false,
        };
        holds_lease || self.is_service()
    }
}

fn long_version() -> String {
    format!(
        "{}\nschema {}, for PostgreSQL 14 or newer",
        env!("CARGO_PKG_VERSION"),
        bmdb_model::migration::newest_known()
    )
}

fn after_help() -> String {
    format!(
        "\
Examples:
  bmdb migrate up               set up or upgrade the database
  bmdb machine import FILE      add machines
  bmdb stats --watch            show the numbers of the fleet until Ctrl-C
  bmdb stats --json | jq .      the same for programs

Environment:
  BMDB_DATABASE_URL   the database, as --database-url; else PGHOST, PGDATABASE, … as for psql
  BMDB_OPERATOR       who acts, as --as; default: user@host
  RUST_LOG            the log filter, such as bmdb_core=debug
  NO_COLOR            disables colours; CLICOLOR_FORCE=1 enables them also in pipes

{}",
        exit::HELP
    )
}
