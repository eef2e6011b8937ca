//! `bmdb janitor`: a janitor as a program of its own.

mod dry_run;
mod turn;

use crate::connect::connect_service;
use crate::context::{Context, close_session};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::watch::interval;
use bmdb_backoff::Seconds;
use bmdb_core::{Bmdb, Config, ConnectError, Reader, Retention, SessionOptions};
use std::time::Duration;

/// How long a turn may continue after a signal.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// Reclaim the work of expired sessions and do maintenance, until a signal ends it.
///
/// Every control loop has a janitor too. A separate one is for a fleet whose components may all be down at
/// the same time. Any number may run. History is only trimmed with --keep-days or --keep-rows, because
/// components may keep more than the default. Ctrl-C and SIGTERM end the program in order with exit code 0;
/// before its first connection to the database, with 130 and 143.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb janitor                            run as a service
  bmdb janitor --once --keep-days 30      take one turn, as from cron
  bmdb janitor --dry-run --keep-days 30   show what that turn would do")]
pub(crate) struct Janitor {
    /// Take one turn and exit.
    #[arg(long)]
    once: bool,
    /// Show what a turn would do, but change nothing.
    #[arg(long, conflicts_with = "once")]
    dry_run: bool,
    /// The longest time between two checks for expired sessions.
    #[arg(long, value_name = "INTERVAL", default_value = "1s", value_parser = interval)]
    interval: Seconds,
    /// The time in which the whole fleet is replanned once, batch by batch.
    #[arg(long, value_name = "INTERVAL", default_value = "1h", value_parser = interval)]
    replan_period: Seconds,
    /// Trim history to this many days.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=36_500))]
    keep_days: Option<u32>,
    /// Trim history to this many rows of each machine.
    #[arg(long, value_name = "N")]
    keep_rows: Option<u32>,
}

impl Janitor {
    /// Whether it runs until a signal ends it.
    pub(crate) const fn is_service(&self) -> bool {
        !self.once && !self.dry_run
    }

    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        let waiting = |error: &ConnectError, delay| tracing::warn!(?delay, "{error}; waiting");
        if self.is_service() {
            let checked = connect_service(|| Reader::connect(context.config()), waiting).await;
            checked.map_err(|error| context.explain(error))?;
        } else {
            // Checks the schema first.
            context.reader().await?;
        }
        let config = self.config(context);
        if self.is_service() {
            let interval = Some(Duration::from(self.interval));
            return serve(context, config.janitor_interval(interval)).await;
        }
        let connected = Bmdb::connect(config).await;
        let bmdb = connected.map_err(|error| context.explain(error))?;
        if self.dry_run {
            let dry_run = bmdb.janitor_dry_run().await?;
            return context.output.report(&dry_run::Answer::from(dry_run));
        }
        let turn = bmdb.janitor_turn().await?;
        context.output.report(&turn::Answer::from(turn))
    }

    fn config(&self, context: &Context) -> Config {
        context
            .config()
            .component("bmdb-janitor")
            .replan_period(Some(self.replan_period.into()))
            .retention(self.retention())
    }

    /// The limits that are given; the other one is unlimited.
    fn retention(&self) -> Option<Retention> {
        let seconds = self.keep_days.map(|days| days.saturating_mul(86_400));
        (self.keep_rows.is_some() || seconds.is_some()).then_some(Retention {
            attempts_per_machine: self.keep_rows.unwrap_or(u32::MAX),
            seconds: seconds.unwrap_or(u32::MAX),
        })
    }
}

async fn serve(context: &Context, config: Config) -> Result<(), Failure> {
    let waiting = |error: &ConnectError, delay| tracing::warn!(?delay, "{error}; waiting");
    let connected = connect_service(|| Bmdb::connect(config.clone()), waiting).await;
    let bmdb = connected.map_err(|error| context.explain(error))?;
    // Until here a signal ends the program.
    let stopped = context.signals.stopped();
    let work = async {
        may_write(&bmdb).await?;
        tracing::info!("the janitor is running; SIGTERM or Ctrl-C ends it");
        std::future::pending().await
    };
    tokio::select! {
        denied = work => return denied,
        () = stopped => {}
    }
    tracing::info!("ending");
    bmdb.drain(DRAIN_TIMEOUT).await?;
    Ok(())
}

/// Checks with a short session that the login may write. Otherwise the janitor would do nothing, and nothing
/// else would report it. Other errors may be temporary and are only logged.
async fn may_write(bmdb: &Bmdb) -> Result<(), Failure> {
    let session = bmdb.start_session(SessionOptions::default()).await;
    match session.map_err(Failure::from) {
        Ok(session) => close_session(session).await,
        Err(failure) if failure.exit() == Exit::Denied => return Err(failure),
        Err(failure) => tracing::warn!("{failure}"),
    }
    Ok(())
}
