//! Standbys: servers that replicate a primary, until one of them is promoted.

mod backup;
mod client;

use crate::TestkitError;
use crate::blocking::on_own_thread;
use crate::profile::Profile;
use crate::running::{Boot, RunningServer};
use crate::server::Server;
use crate::wait::wait_for;
use backup::{MAKING, back_up, name_of};
use client::BlockingClient;

const PROMOTING: &str = "promoting the server";

/// What a commit on a primary waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replication {
    /// The primary's own disk: a promoted standby may lack the last commits.
    Asynchronous,
    /// The standby's disk as well: a promoted standby has every acknowledged commit. While the standby
    /// is away, no commit on the primary returns.
    Synchronous,
}

impl Server {
    /// A new server that replicates this one and can be read from.
    ///
    /// It has everything that was committed before the call. Like any other [`Server`] it stops when it
    /// is dropped, and may be killed and restarted. Commits wait for every standby that was made
    /// [`Replication::Synchronous`] and still exists. A standby can have standbys only after it was
    /// promoted.
    ///
    /// This server keeps up to 1 GB of its log for standbys that are away.
    ///
    /// Blocks for the time of a copy of the data and of a boot (about 0.5 s); it may be called inside
    /// of a runtime.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] if this server was not booted by [`Server::boot`] with
    /// [`Profile::Durable`], is a standby itself, has tablespaces, or if the new one does not boot;
    /// [`TestkitError::Database`] if this server does not run; [`TestkitError::Files`],
    /// [`TestkitError::TimedOut`].
    pub fn standby(&self, replication: Replication) -> Result<Self, TestkitError> {
        let primary = self.own(MAKING)?;
        if primary.profile != Profile::Durable {
            return Err(TestkitError::boot(
                MAKING,
                "Profile::Fast writes no log for a standby; boot the primary with Profile::Durable",
            ));
        }
        let standby = on_own_thread(MAKING, || make(primary, replication))?;
        Ok(self.with_standby(standby))
    }

    /// Makes a standby accept writes, and returns when it does. Blocks; it may be called inside of a
    /// runtime.
    ///
    /// A running primary continues to accept writes as well: kill it first, as in a fail-over.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] if it is not a standby; [`TestkitError::Database`] if it does not run;
    /// [`TestkitError::TimedOut`].
    pub fn promote(&self) -> Result<(), TestkitError> {
        let standby = self.own(PROMOTING)?;
        on_own_thread(PROMOTING, || {
            let client = BlockingClient::connect(&standby.url())?;
            if !client.is_standby()? {
                return Err(TestkitError::boot(
                    PROMOTING,
                    "it is not a standby; Server::standby makes one",
                ));
            }
            // The server's own wait would check only ten times a second whether it is done.
            client.column("SELECT pg_promote(false)")?;
            wait_for("the standby to be promoted", || {
                Ok((!client.is_standby()?).then_some(()))
            })
        })
    }
}

fn make(primary: &RunningServer, replication: Replication) -> Result<RunningServer, TestkitError> {
    let client = BlockingClient::connect(&primary.url())?;
    if client.is_standby()? {
        return Err(TestkitError::boot(
            MAKING,
            "the server is a standby itself; promote it, or ask its primary",
        ));
    }
    let boot = Boot::new(&primary.installation, primary.profile, &primary.user);
    let standby = boot.filled_by(&|data| back_up(primary, &client, data))?;
    let name = name_of(&standby.data());
    wait_for("the standby to follow its primary", || {
        let following = client
            .column("SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'")?;
        Ok(following.contains(&name).then_some(()))
    })?;
    if replication == Replication::Synchronous {
        make_synchronous(&client, &name)?;
    }
    Ok(standby)
}

/// Makes commits wait for this standby, as well as for those that they already wait for.
fn make_synchronous(client: &BlockingClient, name: &str) -> Result<(), TestkitError> {
    let synchronous = "SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync'";
    let mut names = client.column(synchronous)?;
    names.push(name.to_owned());
    let list = names.join("\", \"");
    client.set(
        "synchronous_standby_names",
        &format!("{} (\"{list}\")", names.len()),
    )?;
    wait_for("commits to wait for the standby", || {
        let synchronous = client.column(synchronous)?;
        let all = names.iter().all(|name| synchronous.contains(name));
        Ok(all.then_some(()))
    })?;
    // The checkpointer makes commits wait, once it has read the new settings, which it does before a
    // checkpoint. The first one may have begun earlier; the second cannot have.
    for _ in 0..2 {
        client.column("CHECKPOINT")?;
    }
    Ok(())
}
