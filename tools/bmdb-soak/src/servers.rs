//! The servers of the soak: a primary, and a standby that its commits wait for.

use crate::connect::{ANSWER_TIMEOUT, connect, control};
use crate::disk::Disk;
use crate::failure::{Done, Failure};
use crate::stop::Stop;
use bmdb_testkit::{Installation, Profile, Replication, Server};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::block_in_place;
use tokio::time::{Instant, timeout};
use tokio_postgres::Client;

/// How long a server may take to answer after a restart.
const RESTART_TIMEOUT: Duration = Duration::from_secs(60);

/// For a small volume: a short log that is soon reused. A standby that was away for some seconds needs
/// little of the log, and reconnects soon.
const SETTINGS: &[(&str, &str)] = &[
    ("checkpoint_timeout", "30s"),
    ("wal_retrieve_retry_interval", "200ms"),
    ("autovacuum_naptime", "10s"),
];

/// How much log a standby can find. Set after the standby was made, which sets more.
const KEEP_FOR_STANDBY: (&str, &str) = ("wal_keep_size", "96MB");

#[derive(Debug)]
pub(crate) struct Servers {
    standby: Option<Server>,
    pub(crate) primary: Arc<Server>,
}

impl Servers {
    pub(crate) fn boot(installation: &Installation, disk: Option<&Disk>) -> Done<Self> {
        let primary = match disk {
            Some(disk) => Server::boot_in(disk.folder(), installation, Profile::Durable)?,
            None => Server::boot(installation, Profile::Durable)?,
        };
        primary.keep_data()?;
        Ok(Self {
            standby: None,
            primary: Arc::new(primary),
        })
    }

    pub(crate) async fn set_up(&mut self, standby: bool) -> Done {
        let control = control(self.primary.url()).await?;
        set(&control, SETTINGS).await?;
        if standby {
            let standby = self.primary.standby(Replication::Synchronous)?;
            standby.keep_data()?;
            self.standby = Some(standby);
            set(&control, &[KEEP_FOR_STANDBY]).await?;
        }
        Ok(())
    }

    /// Kills all processes of the primary (SIGKILL) and starts it again after that time.
    pub(crate) async fn kill(&self, time: Duration, stop: &Stop) -> Done {
        block_in_place(|| self.primary.kill9())?;
        stop.sleep(time).await;
        self.restart().await
    }

    /// Starts the servers that do not run, and returns when both answer.
    pub(crate) async fn restart(&self) -> Done {
        restart(&self.primary).await?;
        match &self.standby {
            Some(standby) => restart(standby).await,
            None => Ok(()),
        }
    }

    /// Kills the standby's supervisor (SIGKILL), which ends the standby, so that commits wait. With
    /// `detach` they stop waiting for it after half of the time.
    pub(crate) async fn kill_standby(
        &self,
        time: Duration,
        detach: bool,
        stop: &Stop,
    ) -> Done<bool> {
        let Some(standby) = &self.standby else {
            return Ok(false);
        };
        let Some(supervisor) = supervisor_of(standby) else {
            return Ok(false);
        };
        let killed = kill(supervisor, Signal::SIGKILL).is_ok();
        stop.sleep(time / 2).await;
        let gone = connect(standby.url()).await.is_err();
        if detach {
            self.wait_for_standby(false).await?;
        }
        stop.sleep(time / 2).await;
        restart(standby).await?;
        if detach {
            self.wait_for_standby(true).await?;
        }
        Ok(killed && gone)
    }

    /// Makes commits wait for the standby, or not.
    async fn wait_for_standby(&self, wait: bool) -> Done {
        let folder = self.standby.as_ref().and_then(Server::folder);
        let name = folder.and_then(|folder| folder.file_name());
        let name = name.unwrap_or_default().to_string_lossy();
        let names = if wait {
            format!("1 (\"{name}\")")
        } else {
            String::new()
        };
        let control = control(self.primary.url()).await?;
        set(&control, &[("synchronous_standby_names", &names)]).await
    }
}

async fn set(control: &Client, settings: &[(&str, &str)]) -> Done {
    for (setting, value) in settings {
        let set = format!("ALTER SYSTEM SET {setting} = '{value}'");
        control.execute(&set, &[]).await?;
    }
    control.execute("SELECT pg_reload_conf()", &[]).await?;
    Ok(())
}

/// The server may be dead, dying, recovering or running.
async fn restart(server: &Server) -> Done {
    let began = Instant::now();
    loop {
        let restarted = block_in_place(|| server.restart());
        let answer = async { connect(server.url()).await?.batch_execute("SELECT 1").await };
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(())) => return Ok(()),
            _ if began.elapsed() < RESTART_TIMEOUT => {}
            answer => {
                return Err(Failure::step(format!(
                    "the server did not come back within {} s: {restarted:?}, {answer:?}",
                    RESTART_TIMEOUT.as_secs()
                )));
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The parent process of the server. Only Linux shows it.
fn supervisor_of(server: &Server) -> Option<Pid> {
    let file = fs::read_to_string(server.folder()?.join("data/postmaster.pid")).ok()?;
    let pid: i32 = file.lines().next()?.trim().parse().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    let parent = parent.trim().parse().ok().filter(|parent| *parent > 1)?;
    Some(Pid::from_raw(parent))
}
