//! Ending a server without losing its data, and starting it again.

use super::{Booted, State};
use crate::TestkitError;
use crate::limit::wait_for;
use crate::sweep;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io;
use std::process::Child;
use std::sync::atomic::Ordering;

const HALTING: &str = "halting the server";
const RESTARTING: &str = "restarting the server";
const BY_ITSELF: &str = "it has ended by itself, and its data is gone; boot another";

/// How a server ends that leaves its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// With everything written, so that its data can be copied.
    Clean,
    /// In the middle of whatever it does, with all of its processes.
    Kill,
}

impl Booted {
    /// Ends the server and leaves its data. Blocks until the server is gone, and on Linux sees to it
    /// that the other processes of a killed one go too; elsewhere they have to notice by themselves.
    pub(crate) fn halt(&self, how: Shutdown) -> Result<(), TestkitError> {
        let mut state = self.lock();
        let State::Running { supervisor } = &mut *state else {
            let data_is_kept = self.has_data();
            let reason = if data_is_kept {
                "it does not run"
            } else {
                BY_ITSELF
            };
            return Err(TestkitError::boot(HALTING, reason));
        };
        if has_ended(supervisor) {
            return Err(TestkitError::boot(HALTING, BY_ITSELF));
        }
        let pid = sweep::pid(&self.folder);
        let keep = self.keep();
        match (File::create(&keep), pid) {
            (Ok(_), Some(pid)) if how == Shutdown::Kill => kill_all(pid),
            // It may end just now, which is as good.
            (Ok(_), Some(pid)) => drop(kill(Pid::from_raw(pid), Signal::SIGINT)),
            (Ok(_), None) => {}
            // Its folder goes with a server that ends by itself.
            (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {}
            (Err(error), _) => return Err(TestkitError::files(keep)(error)),
        }
        wait_for("the server to end", || {
            let status = supervisor.try_wait();
            status.map_err(|error| TestkitError::boot(HALTING, error))
        })?;
        *state = State::Halted { pid };
        if self.has_data() {
            return Ok(());
        }
        Err(TestkitError::boot(HALTING, BY_ITSELF))
    }

    /// Starts the server again after [`Booted::halt`], on the same data and socket.
    pub(crate) fn restart(&self) -> Result<(), TestkitError> {
        let mut state = self.lock();
        if let State::Running { supervisor } = &mut *state {
            if !has_ended(supervisor) {
                return Err(TestkitError::boot(RESTARTING, "it runs"));
            }
            if self.has_data() {
                self.make_keep()?;
                let pid = sweep::pid(&self.folder);
                *state = State::Halted { pid };
            }
        }
        if !self.has_data() {
            return Err(TestkitError::boot(RESTARTING, BY_ITSELF));
        }
        wait_for("the processes of the killed server to end", || {
            match self.start(&mut state) {
                Ok(()) => Ok(Some(())),
                // They may outlive their parent, and a server its supervisor, for a moment, and until
                // then it does not start.
                Err(error) if is_of_the_last(&error) => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        if self.keeps_data.load(Ordering::Relaxed) {
            return Ok(());
        }
        // Until here a failed start would have taken the data away.
        let keep = self.keep();
        fs::remove_file(&keep).map_err(TestkitError::files(&keep))
    }

    /// From now on the data stays also where the server ends by itself.
    pub(crate) fn keep_data(&self) -> Result<(), TestkitError> {
        self.keeps_data.store(true, Ordering::Relaxed);
        self.make_keep()
    }

    fn make_keep(&self) -> Result<(), TestkitError> {
        let keep = self.keep();
        File::create(&keep)
            .map(drop)
            .map_err(TestkitError::files(&keep))
    }

    fn has_data(&self) -> bool {
        self.data().join("PG_VERSION").is_file()
    }
}

/// Whether a server does not start because of what the one before it has not let go of yet.
fn is_of_the_last(error: &TestkitError) -> bool {
    let said = error.to_string();
    ["still in use", "already exists"]
        .iter()
        .any(|sign| said.contains(sign))
}

fn has_ended(supervisor: &mut Child) -> bool {
    !matches!(supervisor.try_wait(), Ok(None))
}

/// Kills a server and its children at once. One of them that computes would not notice for as long
/// as its statement takes that its parent is gone.
fn kill_all(server: i32) {
    // Only Linux has this file.
    let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().flat_map(str::parse);
    for pid in [server].into_iter().chain(children) {
        // It may end just now, which is as good.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
