//! Worker: a process that claims machines and ends its work as components do, notes everything in a
//! journal, and goes on after every error.
//!
//! It does not decide which errors are legal; the judge does. SIGTERM drains it. It ends at once when
//! its standard input is closed, which happens when the process that started it dies.

mod claiming;
mod context;
mod ending;
mod lease_loss;
mod options;
mod tags;
mod traffic;
mod way;

pub(crate) use options::Options;

use crate::connect::connect;
use crate::failure::Done;
use crate::fixture::COMPONENT;
use crate::journal::THE_END;
use bmdb_core::{Bmdb, Config, HistoryDetail};
use context::Context;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;

/// How long running work may go on after SIGTERM.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) async fn run(options: &Options) -> Done {
    let mut terminate = signal(SignalKind::terminate())?;
    // A thread, because the runtime would wait at its end for a task that reads.
    std::thread::spawn(end_with_parent);
    let side = match &options.side_url {
        Some(url) => Some(connect(url).await?),
        None => None,
    };
    let context = Arc::new(Context::new(options, side)?);
    let Some(bmdb) = connect_component(options, &context, &mut terminate).await? else {
        return context.saw(THE_END);
    };
    let mut loops = JoinSet::new();
    for _ in 0..options.sessions {
        loops.spawn(claiming::work(bmdb.clone(), context.clone(), options.tasks));
    }
    if context.side.is_some() {
        loops.spawn(traffic::write_tags(bmdb.clone(), context.clone()));
        loops.spawn(traffic::send_heartbeats(bmdb.clone(), context.clone()));
    }
    terminate.recv().await;
    context.stop();
    // If the database cannot be reached, the leases run out.
    if let Err(error) = bmdb.drain(DRAIN_TIMEOUT).await {
        context.failed("draining", &error)?;
    }
    while let Some(ended) = loops.join_next().await {
        ended??;
    }
    context.saw(THE_END)
}

/// Tries until the server answers; `None` after SIGTERM.
async fn connect_component(
    options: &Options,
    context: &Context,
    terminate: &mut Signal,
) -> Done<Option<Bmdb>> {
    let process = format!("worker {}, pid {}", options.number, std::process::id());
    let mut config = Config::new(&options.database_url)
        .component(COMPONENT)
        .runtime_info(process)
        .history(HistoryDetail::Full)
        .retention(None)
        .pool_size(8);
    if context.side.is_some() {
        config = config.janitor_interval(Some(Duration::from_millis(200)));
    } else {
        config = config.janitor_interval(Some(Duration::from_millis(500)));
        config.statement_timeout = Duration::from_secs(2);
        config.connect_timeout = Duration::from_secs(2);
        config.retry_for = Duration::from_secs(4);
    }
    loop {
        tokio::select! {
            connected = Bmdb::connect(config.clone()) => match connected {
                Ok(bmdb) => return Ok(Some(bmdb)),
                Err(error) => context.failed("connecting", &error)?,
            },
            _ = terminate.recv() => return Ok(None),
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Without its parent a worker would run forever.
fn end_with_parent() {
    let mut buffer = [0; 64];
    while matches!(std::io::stdin().read(&mut buffer), Ok(length) if length > 0) {}
    std::process::exit(3);
}
