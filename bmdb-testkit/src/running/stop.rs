//! Ends a server without losing its data, and starts it again.

use super::{RunningServer, State};
use crate::TestkitError;
use crate::dead_servers::server_pid;
use crate::lock::lock;
use crate::wait::wait_for;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io;
use std::process::Child;
use std::sync::atomic::Ordering;

const HALTING: &str = "halting the server";
const RESTARTING: &str = "restarting the server";
const BY_ITSELF: &str = "it has ended by itself, and its data is gone; boot another";

/// How to end a server and leave its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shutdown {
    /// Everything is written, so that its data can be copied.
    Clean,
    /// All of its processes are killed at once.
    Kill,
}

impl RunningServer {
    /// Ends the server and leaves its data. Blocks until the server is gone. [`Shutdown::Kill`] kills
    /// its other processes only on Linux; elsewhere they end when they notice.
    pub(crate) fn halt(&self, how: Shutdown) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        let State::Running { supervisor } = &mut *state else {
            let reason = match self.has_data() {
                true => "it does not run",
                false => BY_ITSELF,
            };
            return Err(TestkitError::boot(HALTING, reason));
        };
        if has_ended(supervisor) {
            return Err(TestkitError::boot(HALTING, BY_ITSELF));
        }
        let pid = server_pid(&self.folder);
        let keep = self.keep();
        match (File::create(&keep), pid) {
            (Ok(_), Some(pid)) if how == Shutdown::Kill => kill_all(pid),
            // The signal fails if it has just ended by itself.
            (Ok(_), Some(pid)) => drop(kill(Pid::from_raw(pid), Signal::SIGINT)),
            (Ok(_), None) => {}
            // The folder is removed with a server that ends by itself.
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

    /// Starts the server again after [`RunningServer::halt`], on the same data and socket.
    pub(crate) fn restart(&self) -> Result<(), TestkitError> {
        let mut state = lock(&self.state);
        if let State::Running { supervisor } = &mut *state {
            if !has_ended(supervisor) {
                return Err(TestkitError::boot(RESTARTING, "it runs"));
            }
            if self.has_data() {
                self.make_keep()?;
                let pid = server_pid(&self.folder);
                *state = State::Halted { pid };
            }
        }
        if !self.has_data() {
            return Err(TestkitError::boot(RESTARTING, BY_ITSELF));
        }
        wait_for("the processes of the killed server to end", || {
            match self.start(&mut state) {
                Ok(()) => Ok(Some(())),
                // For a moment they may outlive their parent, and a server its supervisor, and keep
                // the new server from starting.
                Err(error) if is_from_previous(&error) => Ok(None),
                Err(error) => Err(error),
            }
        })?;
        if self.keeps_data.load(Ordering::Relaxed) {
            return Ok(());
        }
        // Without the file, a failed start would have removed the data.
        let keep = self.keep();
        fs::remove_file(&keep).map_err(TestkitError::files(&keep))
    }

    /// From now on the data stays even if the server ends by itself.
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

/// Whether a server does not start because the previous one still holds its files or memory.
fn is_from_previous(error: &TestkitError) -> bool {
    let message = error.to_string();
    ["still in use", "already exists"]
        .iter()
        .any(|sign| message.contains(sign))
}

fn has_ended(supervisor: &mut Child) -> bool {
    !matches!(supervisor.try_wait(), Ok(None))
}

/// Kills a server and its children at once. A child that computes would notice that its parent is gone
/// only after its statement.
fn kill_all(server: i32) {
    // Only Linux has this file.
    let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children"));
    let children = children.unwrap_or_default();
    let children = children.split_whitespace().flat_map(str::parse);
    for pid in [server].into_iter().chain(children) {
        // This fails if it has just ended by itself.
        let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
}
