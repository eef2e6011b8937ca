//! Process group of a command: it gets SIGTERM, then SIGKILL, and never outlives the attempt.

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::time::Duration;
use tokio::process::Child;

/// How often a group is checked for processes that are left. There is no notification of that.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The group that a child leads.
///
/// The kernel keeps the group's number reserved while a process of the group lives. Afterwards it reuses the
/// number only when all other numbers were used, so a signal right after the child's exit reaches the group
/// or no process at all.
pub(super) struct ProcessGroup(Option<Pid>);

impl ProcessGroup {
    pub(super) fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.map(Pid::from_raw))
    }

    /// Sends SIGTERM and waits for the grace period.
    pub(super) async fn terminate(&self, grace: Duration) {
        self.send(Signal::SIGTERM);
        // A stopped process handles SIGTERM only after SIGCONT.
        self.send(Signal::SIGCONT);
        tokio::time::sleep(grace).await;
    }

    /// Waits until no process of the group is left. A process that cleans up may outlive the shell that
    /// started it. Call this after the leader was reaped.
    pub(super) async fn exited(&self) {
        while self.is_alive() {
            tokio::time::sleep(POLL_INTERVAL).await;
        }
    }

    fn is_alive(&self) -> bool {
        let Some(group) = self.0 else { return false };
        // Orphans that this program has inherited count as alive until they are reaped. The reaper does that
        // too, a moment later.
        let any = Pid::from_raw(-group.as_raw());
        let reap = || waitpid(any, Some(WaitPidFlag::WNOHANG));
        while reap().is_ok_and(|status| status != WaitStatus::StillAlive) {}
        killpg(group, None::<Signal>) != Err(Errno::ESRCH)
    }

    /// Sends SIGKILL to the processes that are left.
    pub(super) fn kill(&mut self) {
        self.send(Signal::SIGKILL);
        self.0 = None;
    }

    fn send(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // Fails if no process is left.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for ProcessGroup {
    fn drop(&mut self) {
        self.kill();
    }
}
