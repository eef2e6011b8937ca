//! Removes what a killed supervisor leaves behind: its folder, and its server if the kernel did not
//! end that. Every boot does this first.

use crate::cache::remove_old;
use crate::id::is_id;
use crate::lease::is_supervised;
use crate::os_user::OsUser;
use crate::socket::listens;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The start of the name of every server's folder.
pub(crate) const PREFIX: &str = "bmdb-";
/// The end of that name until the folder has a lease, which shows whether it is in use.
pub(crate) const NEW: &str = ".new";

/// Removes this user's dead servers in a folder.
pub(crate) fn remove_dead_servers(folder: &Path, user: &OsUser) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let is_own = entry.metadata().is_ok_and(|m| m.uid() == user.uid);
        if is_own && entry.file_name().to_str().is_some_and(is_name) && !is_supervised(&path) {
            end_orphan(&path);
            // Best effort: the next boot tries again.
            let _ = fs::remove_dir_all(&path);
        }
    }
    let is_unfinished = |name: &str| name.strip_suffix(NEW).is_some_and(is_name);
    remove_old(folder, is_unfinished, Duration::from_secs(3600));
}

fn is_name(name: &str) -> bool {
    name.strip_prefix(PREFIX).is_some_and(is_id)
}

/// The process id that a server has written into its data.
pub(crate) fn server_pid(folder: &Path) -> Option<i32> {
    let file = fs::read_to_string(folder.join("data/postmaster.pid")).ok()?;
    file.lines().next()?.trim().parse().ok()
}

/// Ends a server without a supervisor. While it listens on its socket, the process id in its folder
/// is still its own.
fn end_orphan(folder: &Path) {
    let Some(pid) = server_pid(folder).filter(|_| listens(folder)) else {
        return;
    };
    // This fails if it has just ended by itself.
    let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
    let begun = Instant::now();
    while listens(folder) && begun.elapsed() < Duration::from_secs(2) {
        thread::sleep(Duration::from_millis(1));
    }
}
