//! A process group: told to end, then killed, and never left behind.

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::time::Duration;
use tokio::process::Child;

/// How often it looks whether anything of a group is left, which nothing else tells.
const LOOK: Duration = Duration::from_millis(20);

/// The group that a child leads.
///
/// Its number stays taken for as long as anything of the group lives. Once nothing does, the kernel
/// gives it to somebody else only after it has gone through all other numbers, so that a signal sent
/// right after the child's end meets the group or nobody.
pub(super) struct Group(Option<Pid>);

impl Group {
    pub(super) fn of(child: &Child) -> Self {
        let id = child.id().and_then(|id| i32::try_from(id).ok());
        Self(id.map(Pid::from_raw))
    }

    /// SIGTERM, and a grace to heed it.
    pub(super) async fn end(&self, grace: Duration) {
        self.send(Signal::SIGTERM);
        // A stopped process gets no signal but this one.
        self.send(Signal::SIGCONT);
        tokio::time::sleep(grace).await;
    }

    /// Waits until nothing of it is left, its leader having been reaped: what has yet to clean up may
    /// outlive the shell that has started it.
    pub(super) async fn gone(&self) {
        while self.lives() {
            tokio::time::sleep(LOOK).await;
        }
    }

    fn lives(&self) -> bool {
        let Some(group) = self.0 else { return false };
        // Orphans fall to this program where it is process 1, as in containers, and count until they are
        // reaped. Elsewhere it has no such children.
        let any = Pid::from_raw(-group.as_raw());
        let reap = || waitpid(any, Some(WaitPidFlag::WNOHANG));
        while reap().is_ok_and(|status| status != WaitStatus::StillAlive) {}
        killpg(group, None::<Signal>) != Err(Errno::ESRCH)
    }

    /// SIGKILL to whatever is left of it.
    pub(super) fn kill(&mut self) {
        self.send(Signal::SIGKILL);
        self.0 = None;
    }

    fn send(&self, signal: Signal) {
        if let Some(group) = self.0 {
            // Fails when nothing is left of it.
            let _ = killpg(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}
