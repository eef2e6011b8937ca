//! The servers of the soak, a primary and perhaps a standby that its commits wait for: booted, killed,
//! filled up, and brought back.

use super::disk::Disk;
use super::stop::Stop;
use crate::shell::{Failure, succeeds};
use bmdb_testkit::{Installation, Profile, Replication, Server};
use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::{Client, NoTls};

/// How long a server may take to come back.
const COME_BACK: Duration = Duration::from_secs(60);

/// How long an answer to a question of ours may take.
const ANSWER: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct Servers {
    standby: Option<Server>,
    pub(crate) primary: Arc<Server>,
}

/// What a small volume has room for: a log that is short, and soon written anew. A standby that is
/// away for seconds needs little of it, and should be back at once.
const SETTINGS: &[(&str, &str)] = &[
    ("checkpoint_timeout", "30s"),
    ("wal_retrieve_retry_interval", "200ms"),
    ("autovacuum_naptime", "10s"),
];

/// Set once there is a standby; making it has set more.
const KEPT_FOR_STANDBY: (&str, &str) = ("wal_keep_size", "96MB");

impl Servers {
    /// Boots the primary.
    pub(crate) fn boot(installation: &Installation, disk: Option<&Disk>) -> Result<Self, Failure> {
        let primary = match disk {
            Some(disk) => Server::boot_in(disk.folder(), installation, Profile::Durable),
            None => Server::boot(installation, Profile::Durable),
        }
        .map_err(Failure::check)?;
        primary.keep_data().map_err(Failure::check)?;
        Ok(Self {
            standby: None,
            primary: Arc::new(primary),
        })
    }

    pub(crate) async fn set_up(&mut self, standby: bool) -> Result<(), Failure> {
        let control = self.control(self.primary.url()).await?;
        set(&control, SETTINGS).await?;
        if standby {
            let made = self.primary.standby(Replication::Synchronous);
            let made = made.map_err(Failure::check)?;
            made.keep_data().map_err(Failure::check)?;
            self.standby = Some(made);
            set(&control, &[KEPT_FOR_STANDBY]).await?;
        }
        Ok(())
    }

    /// A connection as superuser, past all proxies. What it commits does not wait for a standby.
    pub(crate) async fn control(&self, url: &str) -> Result<Client, Failure> {
        let connecting = tokio_postgres::connect(url, NoTls);
        let connected = tokio::time::timeout(ANSWER, connecting).await;
        let (client, connection) = connected
            .map_err(|_| Failure::check("the server does not let us in"))?
            .map_err(Failure::check)?;
        tokio::spawn(connection);
        let settings = format!(
            "SET synchronous_commit = local; SET statement_timeout = {}",
            ANSWER.as_millis()
        );
        client
            .batch_execute(&settings)
            .await
            .map_err(Failure::check)?;
        Ok(client)
    }

    /// SIGKILL to all of the server, and after that time it is started again.
    pub(crate) async fn kill(&self, time: Duration, stop: &Stop) -> Result<(), Failure> {
        tokio::task::block_in_place(|| self.primary.kill9()).map_err(Failure::check)?;
        stop.sleep(time).await;
        self.revive().await
    }

    /// Brings back whichever server does not run, and returns when they answer.
    pub(crate) async fn revive(&self) -> Result<(), Failure> {
        revive(&self.primary).await?;
        match &self.standby {
            Some(standby) => revive(standby).await,
            None => Ok(()),
        }
    }

    /// SIGKILL to the standby's supervisor, with which it ends. Commits wait; where `without` they are
    /// let go on without it after half of the time.
    pub(crate) async fn kill_standby(
        &self,
        time: Duration,
        without: bool,
        stop: &Stop,
    ) -> Result<bool, Failure> {
        let Some(standby) = &self.standby else {
            return Ok(false);
        };
        let Some(supervisor) = supervisor_of(standby) else {
            return Ok(false);
        };
        let killed = succeeds(Command::new("kill").args(["-9", &supervisor.to_string()]));
        stop.sleep(time / 2).await;
        let gone = tokio_postgres::connect(standby.url(), NoTls).await.is_err();
        if without {
            self.wait_for_standby(false).await?;
        }
        stop.sleep(time / 2).await;
        revive(standby).await?;
        if without {
            self.wait_for_standby(true).await?;
        }
        Ok(killed && gone)
    }

    /// Lets commits wait for the standby, or not.
    async fn wait_for_standby(&self, wait: bool) -> Result<(), Failure> {
        let folder = self.standby.as_ref().and_then(Server::folder);
        let name = folder.and_then(|folder| folder.file_name());
        let name = name.unwrap_or_default().to_string_lossy().into_owned();
        let names = if wait {
            format!("1 (\"{name}\")")
        } else {
            String::new()
        };
        let control = self.control(self.primary.url()).await?;
        set(&control, &[("synchronous_standby_names", &names)]).await
    }
}

async fn set(control: &Client, settings: &[(&str, &str)]) -> Result<(), Failure> {
    for (setting, value) in settings {
        let set = format!("ALTER SYSTEM SET {setting} = '{value}'");
        control.execute(&set, &[]).await.map_err(Failure::check)?;
    }
    let reload = "SELECT pg_reload_conf()";
    control.execute(reload, &[]).await.map_err(Failure::check)?;
    Ok(())
}

/// The server may be dead, dying, recovering, or alive.
async fn revive(server: &Server) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let restarted = tokio::task::block_in_place(|| server.restart());
        let answers = async {
            let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await?;
            tokio::spawn(connection);
            client.batch_execute("SELECT 1").await
        };
        match tokio::time::timeout(ANSWER, answers).await {
            Ok(Ok(())) => return Ok(()),
            _ if begun.elapsed() < COME_BACK => {}
            answer => {
                return Err(Failure::check(format!(
                    "the server does not come back within {} s: {restarted:?}, {answer:?}",
                    COME_BACK.as_secs()
                )));
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The process that has started the server: Linux tells it.
fn supervisor_of(server: &Server) -> Option<i32> {
    let file = fs::read_to_string(server.folder()?.join("data/postmaster.pid")).ok()?;
    let pid: i32 = file.lines().next()?.trim().parse().ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok().filter(|parent| *parent > 1)
}
