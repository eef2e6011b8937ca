//! Standbys: servers that repeat what their primary writes, until one of them is promoted.

mod backup;
mod session;

use crate::TestkitError;
use crate::limit::wait_for;
use crate::profile::Profile;
use crate::running::Booted;
use crate::server::Server;
use crate::tcp::Listening;
use backup::back_up;
use session::Session;
use std::path::Path;
use std::thread;

const MAKING: &str = "making a standby";
const PROMOTING: &str = "promoting the server";

/// What a commit on a primary waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replication {
    /// For nothing but the primary's own disk: a promoted standby may lack what was committed last.
    Asynchronous,
    /// Until it is on the standby's disk too: a promoted standby has everything that anybody was
    /// told is committed. Without the standby no commit on the primary returns.
    Synchronous,
}

impl Server {
    /// A new server that repeats what this one writes, and that can be read from.
    ///
    /// It has everything that was committed before the call. It is a [`Server`] as any other: it is
    /// stopped when it is dropped, and may be killed and restarted. Every standby that is made
    /// [`Replication::Synchronous`] and not gone since is waited for. Only one that has been
    /// promoted may have standbys in turn.
    ///
    /// This server keeps up to 1 GB of its log for standbys that are away.
    ///
    /// Blocks for the time of a copy of the data and of a boot (some 0.5 s), also inside of a
    /// runtime.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] where this server is not one of [`Server::boot`] with
    /// [`Profile::Durable`], is a standby itself, has tablespaces, or the new one does not boot;
    /// [`TestkitError::Database`] where it does not run; [`TestkitError::Files`],
    /// [`TestkitError::TimedOut`].
    pub fn standby(&self, replication: Replication) -> Result<Self, TestkitError> {
        let primary = self.own(MAKING)?;
        if primary.profile != Profile::Durable {
            return Err(TestkitError::boot(
                MAKING,
                "Profile::Fast writes no log that it could follow; boot the primary with \
                 Profile::Durable",
            ));
        }
        let standby = outside_of_runtimes(MAKING, || make(primary, replication))?;
        Ok(self.new_standby(standby))
    }

    /// Makes a primary of a standby, whether its own primary lives or not. Blocks until it accepts
    /// writes, also inside of a runtime.
    ///
    /// A primary that lives goes on to accept writes as well: kill it before, as a fail-over does.
    ///
    /// # Errors
    /// [`TestkitError::Boot`] where it is no standby; [`TestkitError::Database`] where it does not
    /// run; [`TestkitError::TimedOut`].
    pub fn promote(&self) -> Result<(), TestkitError> {
        let standby = self.own(PROMOTING)?;
        outside_of_runtimes(PROMOTING, || {
            let session = Session::open(&standby.url())?;
            if !session.is_standby()? {
                return Err(TestkitError::boot(
                    PROMOTING,
                    "it is no standby; Server::standby makes one",
                ));
            }
            // Without waiting: the server itself looks only ten times a second whether it is done.
            session.column("SELECT pg_promote(false)")?;
            wait_for("the standby to be promoted", || {
                Ok((!session.is_standby()?).then_some(()))
            })
        })
    }
}

fn make(primary: &Booted, replication: Replication) -> Result<Booted, TestkitError> {
    let session = Session::open(&primary.url())?;
    if session.is_standby()? {
        return Err(TestkitError::boot(
            MAKING,
            "the server is a standby itself; promote it, or ask its primary",
        ));
    }
    let standby = Booted::boot_on(
        &primary.installation,
        primary.profile,
        &primary.account,
        &|data| back_up(primary, &session, data),
        0,
        &Listening::default(),
    )?;
    let name = name_of(&standby.data());
    wait_for("the standby to follow its primary", || {
        let following = session
            .column("SELECT application_name FROM pg_stat_replication WHERE state = 'streaming'")?;
        Ok(following.contains(&name).then_some(()))
    })?;
    if replication == Replication::Synchronous {
        make_synchronous(&session, &name)?;
    }
    Ok(standby)
}

/// Lets commits wait for this standby, and for those that they wait for already.
fn make_synchronous(session: &Session, name: &str) -> Result<(), TestkitError> {
    let synchronous = "SELECT application_name FROM pg_stat_replication WHERE sync_state = 'sync'";
    let mut names = session.column(synchronous)?;
    names.push(name.to_owned());
    let list = names.join("\", \"");
    session.set(
        "synchronous_standby_names",
        &format!("{} (\"{list}\")", names.len()),
    )?;
    wait_for("commits to wait for the standby", || {
        let synchronous = session.column(synchronous)?;
        let all = names.iter().all(|name| synchronous.contains(name));
        Ok(all.then_some(()))
    })?;
    // It is the checkpointer that lets commits wait, once it has read the new settings, and it does
    // that before a checkpoint; the second one cannot have begun before the first one was done.
    for _ in 0..2 {
        session.column("CHECKPOINT")?;
    }
    Ok(())
}

/// The name that a standby with this data directory has for its primary: that of its folder.
fn name_of(data: &Path) -> String {
    let name = data.parent().and_then(Path::file_name);
    name.unwrap_or_default().to_string_lossy().into_owned()
}

/// On a thread of its own: whoever blocks here may do so inside a runtime.
fn outside_of_runtimes<T: Send>(
    step: &str,
    work: impl FnOnce() -> Result<T, TestkitError> + Send,
) -> Result<T, TestkitError> {
    thread::scope(|scope| {
        let working = thread::Builder::new().spawn_scoped(scope, work);
        let working = working.map_err(|error| TestkitError::boot(step, error))?;
        working
            .join()
            .unwrap_or_else(|_| Err(TestkitError::boot(step, "it panicked")))
    })
}
