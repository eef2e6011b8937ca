//! Reaper: takes the exit status of processes that this program has inherited.
//!
//! As process 1 of a container, or as a child subreaper, a program becomes the parent of all orphans: of what
//! a command leaves behind, and of what `docker exec` starts. Each of them stays a zombie, and takes a number,
//! until its parent asks for its exit status. A program that was started by `exec` in a shell has the shell's
//! children. So every command of bmdb reaps, whatever its own number is.
//!
//! The exit status of a command that this program has started itself belongs to tokio. Waiting for any child
//! would steal it.

use std::collections::HashSet;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// How soon inherited processes are looked at again while tokio has not taken the exit status of a child.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The children that are not inherited, by their process id.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reaper {
    own: Arc<Mutex<HashSet<u32>>>,
}

/// A process that this program has started, with kill-on-drop or to be waited for.
#[derive(Debug)]
pub(crate) struct OwnChild {
    // Dropped first: as long as tokio may wait for it, it is registered.
    pub(crate) child: Child,
    _registered: Registered,
}

#[derive(Debug)]
struct Registered {
    reaper: Reaper,
    id: Option<u32>,
}

impl Reaper {
    /// Reaps until the runtime ends.
    ///
    /// # Errors
    /// When the operating system refuses to deliver SIGCHLD.
    pub(crate) fn start() -> io::Result<Self> {
        let reaper = Self::default();
        let mut exited = signal(SignalKind::child())?;
        let reaping = reaper.clone();
        tokio::spawn(async move {
            loop {
                while !reaping.reap() {
                    tokio::time::sleep(POLL_INTERVAL).await;
                }
                if exited.recv().await.is_none() {
                    return;
                }
            }
        });
        Ok(reaper)
    }

    /// Starts a process whose exit status is not taken here.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(crate) fn spawn(&self, command: &mut Command) -> io::Result<OwnChild> {
        // Locked, so that a child is registered before it can be reaped, however soon it exits.
        let mut own = lock(&self.own);
        let child = command.spawn()?;
        let id = child.id();
        own.extend(id);
        drop(own);
        let reaper = self.clone();
        let _registered = Registered { reaper, id };
        Ok(OwnChild { child, _registered })
    }

    /// Returns whether all inherited processes that have exited are reaped: the kernel shows only the first
    /// child that has exited, and it may be one of our own.
    #[cfg(target_os = "linux")]
    fn reap(&self) -> bool {
        use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
        let own = lock(&self.own);
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        loop {
            // An error means that there are no children.
            let exited = waitid(Id::All, look).ok().and_then(|status| status.pid());
            let Some(pid) = exited else { return true };
            if u32::try_from(pid.as_raw()).is_ok_and(|id| own.contains(&id)) {
                return false;
            }
            // Exited, so this does not wait.
            let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        }
    }

    /// Containers are a matter of Linux, and elsewhere a child cannot be looked at without taking its status.
    #[cfg(not(target_os = "linux"))]
    fn reap(&self) -> bool {
        true
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            lock(&self.reaper.own).remove(&id);
        }
    }
}

fn lock(own: &Mutex<HashSet<u32>>) -> MutexGuard<'_, HashSet<u32>> {
    own.lock().unwrap_or_else(PoisonError::into_inner)
}
