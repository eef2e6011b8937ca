//! Waking pollers before their time: by notifications of the database, and by this component's own ends.
//!
//! Whoever waits also polls, so a wake-up that gets lost is late and nothing more.

use crate::db::connect::Target;
use crate::db::retry::Delays;
use bmdb_model::Process;
use bmdb_model::internal::notify;
use futures_util::StreamExt;
use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// How long it takes at first until a lost connection is made again.
const FIRST_RECONNECT: Duration = Duration::from_millis(100);
/// How long it takes at most.
const LAST_RECONNECT: Duration = Duration::from_secs(10);

/// Who of this component waits for machines to become due, and the ear that they share.
pub(crate) struct Wakeups {
    waiting: Arc<Waiting>,
    /// None where the engine cannot notify.
    target: Option<Target>,
    ear: Mutex<Weak<Ear>>,
}

/// The pollers of each process. All of them are woken: a notification does not say whose provider it
/// is about, nor of how many machines, and a poll in vain is one statement that reads five pages.
#[derive(Default)]
struct Waiting(Mutex<HashMap<Process, watch::Sender<()>>>);

/// A connection that listens, closed when the last poller that wants it is gone.
pub(crate) struct Ear(AbortHandle);

impl Drop for Ear {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Wakeups {
    pub(crate) fn new(target: Option<Target>) -> Self {
        Self {
            waiting: Arc::default(),
            target,
            ear: Mutex::default(),
        }
    }

    /// What changes whenever something may have become due for the process.
    pub(crate) fn subscribe(&self, process: &Process) -> watch::Receiver<()> {
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, pollers| pollers.receiver_count() > 0);
        waiting.entry(process.clone()).or_default().subscribe()
    }

    /// Wakes the pollers of a process.
    pub(crate) fn wake(&self, process: &Process) {
        self.waiting.wake(process);
    }

    /// Listens as long as what it returns is kept; `None` where the engine cannot notify. Once it does
    /// listen, all pollers are woken: they have polled before.
    pub(crate) fn listen(&self) -> Option<Arc<Ear>> {
        let target = self.target.as_ref()?;
        let mut shared = self.ear.lock().unwrap_or_else(PoisonError::into_inner);
        let ear = shared.upgrade().unwrap_or_else(|| {
            let listening = tokio::spawn(listen(target.clone(), self.waiting.clone()));
            Arc::new(Ear(listening.abort_handle()))
        });
        *shared = Arc::downgrade(&ear);
        Some(ear)
    }
}

impl Waiting {
    fn wake(&self, process: &Process) {
        if let Some(pollers) = self.lock().get(process) {
            pollers.send_replace(());
        }
    }

    fn wake_all(&self) {
        for pollers in self.lock().values() {
            pollers.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Process, watch::Sender<()>>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens for ever, on one connection after the other.
async fn listen(target: Target, waiting: Arc<Waiting>) {
    let mut delays = Delays::new(FIRST_RECONNECT, LAST_RECONNECT);
    loop {
        let began = Instant::now();
        let reason = hear(&target, &waiting).await;
        tracing::debug!(reason, "not listening for notifications: polling goes on");
        // A server that accepts and hangs up is not asked ten times a second.
        if began.elapsed() > LAST_RECONNECT {
            delays.restart();
        }
        tokio::time::sleep(delays.next()).await;
    }
}

/// Listens on one connection until it is lost; why it was.
async fn hear(target: &Target, waiting: &Waiting) -> String {
    let mut conn = match target.connect().await {
        Ok((conn, _)) => conn,
        Err(error) => return error.to_string(),
    };
    match tokio::time::timeout(LAST_RECONNECT, notify::listen(&mut conn)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return error.to_string(),
        Err(_) => return "no answer in time".to_owned(),
    }
    // What was sent before is not received.
    waiting.wake_all();
    let mut notifications = pin!(conn.notifications_stream());
    loop {
        match notifications.next().await {
            Some(Ok(notification)) => {
                if let Ok(process) = Process::new(notification.payload) {
                    waiting.wake(&process);
                }
            }
            Some(Err(error)) => return error.to_string(),
            None => return "the connection was closed".to_owned(),
        }
    }
}
