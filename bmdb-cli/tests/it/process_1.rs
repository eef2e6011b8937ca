//! The program as process 1 of a namespace, as in a container.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A process that is killed when the test ends.
pub(crate) struct Process1 {
    /// `unshare`, or the process itself where that is not permitted.
    outer: Option<Child>,
    pid: Pid,
}

impl Process1 {
    /// Starts the command. Where namespaces are not permitted it is an ordinary process; there a signal
    /// without a handler ends it too, so the test shows less.
    pub(crate) fn start(command: &Command) -> Self {
        if !is_permitted() {
            let mut command = copy(command, &mut Command::new(command.get_program()));
            let outer = command.spawn().unwrap();
            let pid = Pid::from_raw(outer.id().try_into().unwrap());
            return Self {
                outer: Some(outer),
                pid,
            };
        }
        let mut outer = Command::new("unshare");
        outer.args(OPTIONS).arg(command.get_program());
        let outer = copy(command, &mut outer).spawn().unwrap();
        let deadline = Instant::now() + SOON;
        let pid = loop {
            // `unshare` has one child, which becomes the program.
            if let Some(pid) = children(outer.id()).first().copied()
                && std::fs::read_link(format!("/proc/{pid}/exe"))
                    .is_ok_and(|exe| !exe.ends_with("unshare"))
            {
                break Pid::from_raw(pid);
            }
            assert!(Instant::now() < deadline, "it does not start");
            std::thread::sleep(Duration::from_millis(2));
        };
        Self {
            outer: Some(outer),
            pid,
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid, signal).unwrap();
    }

    pub(crate) fn outer(&mut self) -> &mut Child {
        self.outer.as_mut().unwrap()
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.outer().try_wait().unwrap().is_some()
    }

    /// Waits until it exits by itself.
    pub(crate) fn ended(mut self, what: &str) -> Output {
        let deadline = Instant::now() + SOON;
        while !self.has_ended() {
            assert!(Instant::now() < deadline, "{what} does not exit");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.outer.take().unwrap().wait_with_output().unwrap()
    }

    /// How many of its children are zombies.
    pub(crate) fn zombies(&self) -> usize {
        let is_zombie = |pid: &i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit_once(") ")
                .is_some_and(|(_, rest)| rest.starts_with('Z'))
        };
        let pid = u32::try_from(self.pid.as_raw()).unwrap();
        children(pid).iter().filter(|pid| is_zombie(pid)).count()
    }

    /// How many children it has.
    pub(crate) fn children(&self) -> usize {
        children(u32::try_from(self.pid.as_raw()).unwrap()).len()
    }
}

impl Drop for Process1 {
    fn drop(&mut self) {
        if let Some(outer) = &mut self.outer {
            let _ = kill(self.pid, Signal::SIGKILL);
            let _ = outer.kill();
            let _ = outer.wait();
        }
    }
}

const OPTIONS: [&str; 4] = ["--pid", "--fork", "--mount-proc", "--kill-child"];

#[allow(
    clippy::print_stderr,
    reason = "a test that shows less than it could prints why"
)]
fn is_permitted() -> bool {
    let tried = Command::new("unshare").args(OPTIONS).arg("true").output();
    let is_permitted = tried.is_ok_and(|output| output.status.success());
    if !is_permitted {
        eprintln!("\n==== NOT TESTED as process 1: `unshare --pid` needs root ====\n");
    }
    is_permitted
}

/// Adds the arguments and the environment, and pipes.
fn copy(from: &Command, to: &mut Command) -> Command {
    let mut command = std::mem::replace(to, Command::new(""));
    command.args(from.get_args());
    for (name, value) in from.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// The children of all threads.
fn children(pid: u32) -> Vec<i32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task"))
        .into_iter()
        .flatten();
    let lists = threads
        .flatten()
        .filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    lists
        .flat_map(|list| {
            list.split_whitespace()
                .map(|pid| pid.parse().unwrap())
                .collect::<Vec<_>>()
        })
        .collect()
}
