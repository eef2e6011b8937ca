//! What a run consists of: the database, its servers, the workers and their networks.

use crate::clock::Clock;
use crate::disk::Disk;
use crate::failure::{Done, Failure};
use crate::gateway::{Gateway, Mode};
use crate::journal::Journal;
use crate::servers::Servers;
use crate::workers::{Workers, journal};
use bmdb_testkit::{Proxy, TestDb};
use std::env;
use std::path::Path;
use tokio::process::Command;
use tokio::sync::Mutex;

/// Fields are dropped from the top: the workers end before what they use.
pub(crate) struct Environment {
    pub(crate) workers: Mutex<Workers>,
    /// The network of the worker at the same place; empty without network faults.
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) db: TestDb,
    /// The database with the workers' user, without a proxy.
    pub(crate) url: String,
    /// `None` on a server that others use too.
    pub(crate) servers: Option<Servers>,
    pub(crate) clock: Option<Clock>,
    pub(crate) disk: Option<Disk>,
    /// Writes the heartbeats of agents, if workers do not.
    pub(crate) gateway: Option<Gateway>,
    /// What the run itself does to the fleet.
    pub(crate) journal: Journal,
}

impl Environment {
    /// Undoes every fault that may still be in effect.
    pub(crate) async fn heal(&self) -> Done {
        for proxy in &self.proxies {
            proxy.heal()?;
        }
        if let Some(disk) = &self.disk {
            disk.free()?;
        }
        if let Some(gateway) = &self.gateway {
            gateway.set(Mode::Beating);
        }
        if let Some(servers) = &self.servers {
            servers.restart().await?;
        }
        self.lift_everything().await
    }
}

/// What all workers of a run are started with.
pub(crate) struct Launch {
    pub(crate) seed: u64,
    /// The database, for the worker at each place.
    pub(crate) urls: Vec<String>,
    pub(crate) clock: Option<Clock>,
    pub(crate) options: Vec<String>,
}

/// Starts this program again, as a worker for each URL.
pub(crate) fn start_workers(folder: &Path, launch: Launch) -> Done<Workers> {
    let program = env::current_exe().map_err(|error| {
        Failure::step(format!(
            "cannot find this program to start workers: {error}"
        ))
    })?;
    let (journals, count) = (folder.to_owned(), launch.urls.len());
    let command = move |number: u32, place: usize| {
        let mut command = Command::new(&program);
        command
            .arg("worker")
            .args(["--database-url", &launch.urls[place]])
            .args(["--number", &number.to_string()])
            .args(["--seed", &launch.seed.to_string()])
            .args(&launch.options)
            .arg("--journal")
            .arg(journal(&journals, number));
        if let Some(clock) = launch.clock.as_ref().filter(|clock| clock.place == place) {
            clock.apply(&mut command);
        }
        command
    };
    Workers::start(folder, count, Box::new(command))
}
