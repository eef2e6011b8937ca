//! Heartbeat thread: connects and sends heartbeats on a thread and runtime of its own.
//!
//! A step that blocks its thread, such as a synchronous HTTP client or `std::thread::sleep`, keeps all tasks of
//! a runtime with one thread from running. Heartbeats among them would be late, and the machines would go to
//! another program in the middle of the step. So a heartbeat proves that the process lives, and not that a step
//! makes progress.

use crate::db::connect::Target;
use crate::db::home_runtime::HomeRuntime;
use crate::error::ConnectError;
use crate::session::heartbeat::{Registry, keep_alive};
use bmdb_model::internal::connection::ConnectionInfo;
use bmdb_model::migration;
use diesel_async::AsyncPgConnection;
use std::sync::Arc;
use std::thread;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::dispatcher::{self, Dispatch};

/// The thread; it ends when this is dropped, or the home runtime ends.
pub(crate) struct HeartbeatThread {
    _stop: DropGuard,
}

/// What the first connection reports, or why there is none.
type Connected = Result<ConnectionInfo, ConnectError>;

/// Starts the thread, which connects to the target, checks its schema, and keeps the connection for the
/// heartbeats of the registry's sessions.
///
/// Cancellation: the thread ends.
pub(crate) async fn start(
    target: Target,
    registry: Arc<Registry>,
    home: HomeRuntime,
) -> Result<(HeartbeatThread, ConnectionInfo), ConnectError> {
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let _stop = stop.drop_guard();
    let (report, reported) = oneshot::channel();
    // Without it, the thread would log elsewhere than a caller with a subscriber of its own.
    let dispatch = dispatcher::get_default(Dispatch::clone);
    let run = move || {
        let is_set = !dispatch.is::<tracing::subscriber::NoSubscriber>();
        let _subscriber = is_set.then(|| dispatcher::set_default(&dispatch));
        let runtime = match Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(report.send(Err(ConnectError::NoThread(error)))),
        };
        runtime.block_on(async {
            tokio::select! {
                biased;
                () = stopped.cancelled() => {}
                () = home.ended() => {
                    // The tasks that would end the work are gone.
                    for lease in registry.all() {
                        lease.lose();
                    }
                }
                () = beat(target, registry.clone(), report) => {}
            }
        });
        // Files of certificates may just be read; nobody waits for that.
        runtime.shutdown_background();
    };
    let started = thread::Builder::new().name("bmdb-heartbeat".to_owned());
    started.spawn(run).map_err(ConnectError::NoThread)?;
    // The sender is dropped without a report only if the thread panics.
    let connected = reported.await.unwrap_or(Err(ConnectError::NoRuntime));
    Ok((HeartbeatThread { _stop }, connected?))
}

async fn beat(target: Target, registry: Arc<Registry>, report: oneshot::Sender<Connected>) {
    match connect(&target).await {
        Ok((conn, info)) => {
            if report.send(Ok(info)).is_ok() {
                keep_alive(target, conn, registry).await;
            }
        }
        Err(error) => drop(report.send(Err(error))),
    }
}

async fn connect(target: &Target) -> Result<(AsyncPgConnection, ConnectionInfo), ConnectError> {
    let (mut conn, info) = target.connect().await?;
    migration::check_not_too_old(&mut conn).await?;
    Ok((conn, info))
}
