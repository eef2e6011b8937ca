//! `bmdb run`: the input of a command, its exit codes, and its process group.

mod errors;
mod exits;
mod groups;
mod host;
mod readers;
mod reaping;

use crate::bmdb::{Bmdb, Ran, bmdb, due_machine};
use bmdb_model::MachineId;
use bmdb_testkit::TestDb;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(10);

/// A database with one machine that is due for ShepherdAgentStart, and a folder for commands.
struct Fixture {
    db: TestDb,
    machine: MachineId,
    folder: PathBuf,
}

impl Fixture {
    async fn new() -> Self {
        let db = TestDb::new().await.unwrap();
        let machine = due_machine(&db, "a").await;
        let folder = std::env::temp_dir().join(format!("bmdb-run-{machine}"));
        std::fs::create_dir(&folder).unwrap();
        Self {
            db,
            machine,
            folder,
        }
    }

    /// The program with a command for that machine.
    fn bmdb(&self, exec: &str) -> Bmdb {
        bmdb(&self.db)
            .args(["run", "--process", "ShepherdAgentStart"])
            .args(["--provider", "Equinix", "--exec", exec])
            .args(["--backoff", "initial=1s,max=5s,factor=2"])
            .env("FOLDER", &self.folder)
    }

    fn once(&self, exec: &str) -> Bmdb {
        self.bmdb(exec).args(["--once"])
    }

    /// The program in the background.
    fn start(&self, exec: &str, args: &[&str]) -> Running {
        let mut command = self.bmdb(exec).args(args).command();
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped());
        let child = child.stderr(Stdio::inherit()).spawn().unwrap();
        Running(Some(child))
    }

    async fn attempts(&self) -> Vec<String> {
        let attempts = "SELECT outcome, cause, interval_seconds FROM work_attempt ORDER BY fence";
        self.db.rows(attempts).await.unwrap()
    }

    /// Waits until a command has written a line to a file of the folder.
    fn written(&self, file: &str) -> String {
        let deadline = Instant::now() + SOON;
        loop {
            match std::fs::read_to_string(self.folder.join(file)) {
                Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
                _ => assert!(Instant::now() < deadline, "nothing is written to {file}"),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The program while it runs.
struct Running(Option<Child>);

impl Running {
    fn signal(&self, signal: Signal) {
        let id = self.0.as_ref().unwrap().id();
        kill(Pid::from_raw(i32::try_from(id).unwrap()), signal).unwrap();
    }

    /// Waits until it exits by itself.
    fn ended(mut self) -> Ran {
        let mut child = self.0.take().unwrap();
        let deadline = Instant::now() + SOON;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("it does not exit");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.wait_with_output().unwrap().into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How many processes of a group are alive; zombies do not count.
fn living(group: &str) -> usize {
    let is_alive = |stat: &str| {
        // pid (name) state ppid pgrp …; the name may contain anything.
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?;
        let pgrp = fields.nth(1)?;
        Some(pgrp == group && !matches!(state, "Z" | "X"))
    };
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| std::fs::read_to_string(entry.path().join("stat")).ok())
        .filter(|stat| is_alive(stat) == Some(true))
        .count()
}

/// Waits until no process of a group is alive.
fn dies(group: &str) {
    let deadline = Instant::now() + SOON;
    while living(group) > 0 {
        assert!(Instant::now() < deadline, "group {group} is still alive");
        std::thread::sleep(Duration::from_millis(5));
    }
}
