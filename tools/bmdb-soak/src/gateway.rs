//! Gateway: the program of a soak to which the agents send their heartbeats. No network fault hits it.

use crate::connect::control;
use crate::failure::Done;
use crate::heartbeats;
use bmdb_core::{Bmdb, Config, SessionOptions};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// What the gateway does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It listens, and writes the heartbeats that come.
    Beating,
    /// It listens, and no heartbeat comes.
    Listening,
    /// It has no session.
    Gone,
}

/// Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    mode: watch::Sender<Mode>,
    task: JoinHandle<()>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Gateway {
    pub(crate) fn start(url: String) -> Self {
        let (mode, of_task) = watch::channel(Mode::Beating);
        let task = tokio::spawn(async move {
            loop {
                // The server may be down: it is tried again until it answers.
                let _ = serve(&url, of_task.clone()).await;
                sleep(Duration::from_millis(300)).await;
            }
        });
        Self { mode, task }
    }

    pub(crate) fn set(&self, mode: Mode) {
        // The task lives as long as this.
        self.mode.send_replace(mode);
    }
}

/// Listens in one session until that is lost, or until the gateway is to be gone.
async fn serve(url: &str, mut mode: watch::Receiver<Mode>) -> Done {
    mode.wait_for(|mode| *mode != Mode::Gone).await?;
    let side = control(url).await?;
    let config = Config::new(url)
        .component("soak-gateway")
        .janitor_interval(None);
    let bmdb = Bmdb::connect(config).await?;
    let options = SessionOptions::default().interval(Duration::from_secs(2));
    let session = bmdb.start_session(options).await?;
    let _listener = session.listen_to_agents(None).await?;
    loop {
        let now = *mode.borrow();
        match now {
            Mode::Beating => heartbeats::send(&side, &session).await??,
            Mode::Listening => {}
            // Closing it says that nobody listens; if that cannot be said, its lease runs out.
            Mode::Gone => return Ok(session.close().await?),
        }
        sleep(Duration::from_millis(100)).await;
    }
}
