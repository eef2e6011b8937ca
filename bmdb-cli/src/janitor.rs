//! `bmdb janitor`: freeing what dead workers held, and the slow upkeep, by a program of its own.

mod dry_run;
mod turn;

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::watch::interval;
use bmdb_backoff::Seconds;
use bmdb_core::{Bmdb, Config, Retention, SessionOptions};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// How long a turn that has begun may take to end, once the program is told to.
const DRAIN: Duration = Duration::from_secs(10);

/// Free the work of dead sessions and do the slow upkeep, until told to end.
///
/// Every connected control loop does the same by itself; a janitor of its own is for a fleet whose
/// components may all be down at once. Any number may run. History is trimmed only where --keep-days or
/// --keep-rows says what is kept, for components may keep more than the default. Ctrl-C and SIGTERM end
/// it in order, with exit code 0.
#[derive(clap::Args)]
#[command(after_long_help = "\
Examples:
  bmdb janitor                            as a service
  bmdb janitor --once --keep-days 30      one turn, as from cron
  bmdb janitor --dry-run --keep-days 30   what that turn would do")]
pub(crate) struct Janitor {
    /// Take one turn and end.
    #[arg(long)]
    once: bool,
    /// Tell what a turn would do, and do nothing.
    #[arg(long, conflicts_with = "once")]
    dry_run: bool,
    /// The longest time between two looks for dead sessions.
    #[arg(long, value_name = "INTERVAL", default_value = "1s", value_parser = interval)]
    interval: Seconds,
    /// How long planning the whole fleet anew takes, chunk by chunk.
    #[arg(long, value_name = "INTERVAL", default_value = "1h", value_parser = interval)]
    replan_period: Seconds,
    /// Trim history to so many days.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(..=36_500))]
    keep_days: Option<u32>,
    /// Trim history to so many rows of each machine.
    #[arg(long, value_name = "N")]
    keep_rows: Option<u32>,
}

impl Janitor {
    /// Whether it goes on until it is told to end.
    pub(crate) const fn runs_for_good(&self) -> bool {
        !self.once && !self.dry_run
    }

    pub(crate) async fn run(self, context: &Context) -> Result<(), Failure> {
        // Finds out beforehand whether the schema fits.
        context.reader().await?;
        let config = self.config(context);
        if self.runs_for_good() {
            let interval = Some(Duration::from(self.interval));
            return serve(context, config.janitor_interval(interval)).await;
        }
        let connected = Bmdb::connect(config).await;
        let bmdb = connected.map_err(|error| context.explain(error))?;
        if self.dry_run {
            let preview = bmdb.janitor_dry_run().await?;
            return context.output.report(&dry_run::Answer::from(preview));
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

    /// What is kept where either is said; what is not said does not count.
    fn retention(&self) -> Option<Retention> {
        let seconds = self.keep_days.map(|days| days.saturating_mul(86_400));
        (self.keep_rows.is_some() || seconds.is_some()).then_some(Retention {
            attempts_per_machine: self.keep_rows.unwrap_or(u32::MAX),
            seconds: seconds.unwrap_or(u32::MAX),
        })
    }
}

async fn serve(context: &Context, config: Config) -> Result<(), Failure> {
    let unavailable = |error| Failure::other(format!("signals cannot be waited for: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(unavailable)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unavailable)?;
    let connected = Bmdb::connect(config).await;
    let bmdb = connected.map_err(|error| context.explain(error))?;
    let work = async {
        may_write(context, &bmdb).await?;
        tracing::info!("the janitor is at work; SIGTERM or Ctrl-C ends it");
        std::future::pending().await
    };
    tokio::select! {
        denied = work => return denied,
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("ending");
    bmdb.drain(DRAIN).await?;
    Ok(())
}

/// Finds out, by a session that is closed again, whether the login may write: else the janitor would do
/// nothing for good, and nobody would know before work is lost. What else goes wrong it may get over.
async fn may_write(context: &Context, bmdb: &Bmdb) -> Result<(), Failure> {
    let session = bmdb.start_session(SessionOptions::default()).await;
    match session.map_err(Failure::from) {
        Ok(session) => context.close_session(session).await,
        Err(failure) if failure.exit() == Exit::Denied => return Err(failure),
        Err(failure) => tracing::warn!("{failure}"),
    }
    Ok(())
}
