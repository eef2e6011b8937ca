//! Listener: wakes waiting pollers early, on notifications of the database and on this component's own ends.
//!
//! Pollers also poll, so a lost wake-up only makes them late.

use crate::db::connect::Target;
use crate::db::retry::Delays;
use crate::lock::lock;
use bmdb_model::Process;
use bmdb_model::internal::notify;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// The first delay before a lost connection is made again.
const FIRST_RECONNECT: Duration = Duration::from_millis(100);
/// The longest delay.
const LAST_RECONNECT: Duration = Duration::from_secs(10);

/// The waiting pollers of this component, and the connection that listens for them.
pub(crate) struct Listener {
    pollers: Arc<Pollers>,
    /// Listens for pollers of all runtimes.
    runtime: Handle,
    /// `None` if the engine cannot notify.
    target: Option<Target>,
    connection: Mutex<Weak<ListenGuard>>,
}

/// The pollers of each process. A notification wakes all of them: it says neither the provider nor the
/// number of machines, and an empty poll is one statement that reads five pages.
#[derive(Default)]
struct Pollers(Mutex<HashMap<Process, watch::Sender<()>>>);

/// Keeps the listening connection; it is closed with the last poller that wants it.
pub(crate) struct ListenGuard(AbortHandle);

impl Drop for ListenGuard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Listener {
    pub(crate) fn new(runtime: Handle, target: Option<Target>) -> Self {
        Self {
            runtime,
            pollers: Arc::default(),
            target,
            connection: Mutex::default(),
        }
    }

    /// A channel that changes whenever something may have become due for the process.
    pub(crate) fn subscribe(&self, process: &Process) -> watch::Receiver<()> {
        let mut pollers = lock(&self.pollers.0);
        pollers.retain(|_, pollers| pollers.receiver_count() > 0);
        pollers.entry(process.clone()).or_default().subscribe()
    }

    /// Wakes the pollers of a process.
    pub(crate) fn wake(&self, process: &Process) {
        self.pollers.wake(process);
    }

    /// Listens for as long as the guard is kept; `None` if the engine cannot notify. All pollers are woken
    /// once the connection listens, because they polled before.
    pub(crate) fn listen(&self) -> Option<Arc<ListenGuard>> {
        let target = self.target.as_ref()?;
        let mut shared = lock(&self.connection);
        let guard = shared.upgrade().unwrap_or_else(|| {
            let listening = listen(target.clone(), self.pollers.clone());
            let listening = self.runtime.spawn(listening);
            Arc::new(ListenGuard(listening.abort_handle()))
        });
        *shared = Arc::downgrade(&guard);
        Some(guard)
    }
}

impl Pollers {
    fn wake(&self, process: &Process) {
        if let Some(pollers) = lock(&self.0).get(process) {
            pollers.send_replace(());
        }
    }

    fn wake_all(&self) {
        for pollers in lock(&self.0).values() {
            pollers.send_replace(());
        }
    }
}

/// Listens for ever, on one connection after another.
async fn listen(target: Target, pollers: Arc<Pollers>) {
    let mut delays = Delays::new(FIRST_RECONNECT, LAST_RECONNECT);
    loop {
        let began = Instant::now();
        let reason = listen_once(&target, &pollers).await;
        tracing::debug!(reason, "not listening for notifications, polling continues");
        // A server that accepts connections and closes them must not be asked ten times a second.
        if began.elapsed() > LAST_RECONNECT {
            delays.restart();
        }
        tokio::time::sleep(delays.next()).await;
    }
}

/// Listens on one connection until it is lost; returns the reason.
async fn listen_once(target: &Target, pollers: &Pollers) -> String {
    let mut connected = match target.connect_listening().await {
        Ok(connected) => connected,
        Err(error) => return error.to_string(),
    };
    match tokio::time::timeout(LAST_RECONNECT, notify::listen(&mut connected.conn)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return error.to_string(),
        Err(_) => return "no answer in time".to_owned(),
    }
    // Notifications sent before are not received.
    pollers.wake_all();
    while let Some(process) = connected.payloads.recv().await {
        if let Ok(process) = Process::new(process) {
            pollers.wake(&process);
        }
    }
    "the connection was closed".to_owned()
}
