//! The processes of the stress, from the outside: started, killed, waited for.

use super::dice::Dice;
use super::journal::Facts;
use super::part::{Part, Plan};
use bmdb_testkit::TestDb;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;
use std::{env, fs};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// How long a process may take over its end.
const PATIENCE: Duration = Duration::from_secs(40);

pub(super) struct Processes<'p> {
    plan: &'p Plan,
    url: &'p str,
    player: &'p str,
    folder: PathBuf,
    until: Instant,
    running: Vec<Running>,
    outcome: Outcome,
}

/// What came of them.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) facts: Facts,
    /// Where each process has noted them.
    pub(super) journals: PathBuf,
    pub(super) started: u32,
    pub(super) killed: u32,
    /// Errors that no fault accounts for.
    pub(super) errors: Vec<String>,
}

struct Running {
    number: u32,
    child: Child,
    said: JoinHandle<String>,
}

impl<'p> Processes<'p> {
    pub(super) fn new(plan: &'p Plan, db: &'p TestDb, player: &'p str, until: Instant) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(db.name());
        fs::create_dir_all(&folder).unwrap();
        Self {
            plan,
            url: db.url(),
            player,
            folder,
            until,
            running: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    /// Starts one more, for what is left of the time.
    pub(super) fn start(&mut self) {
        let number = self.outcome.started;
        self.outcome.started += 1;
        let part = Part {
            number,
            seed: self.plan.seed,
            time: self.until - Instant::now(),
            journal: self.journal(number),
            url: self.url.to_owned(),
        };
        let mut command = Command::new(env::current_exe().unwrap());
        part.tell(&mut command);
        command
            .args(["--exact", self.player, "--nocapture"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let said = tokio::spawn(async move {
            let mut said = Vec::new();
            stderr.read_to_end(&mut said).await.unwrap();
            String::from_utf8_lossy(&said).into_owned()
        });
        self.running.push(Running {
            number,
            child,
            said,
        });
    }

    pub(super) async fn kill_one(&mut self, dice: &mut Dice) {
        let sides = u32::try_from(self.running.len()).unwrap();
        let mut victim = self.running.remove(dice.roll(sides) as usize);
        victim.child.start_kill().unwrap();
        let status = victim.child.wait().await.unwrap();
        self.outcome.killed += 1;
        self.outcome.facts.read(&self.journal(victim.number));
        // By this signal it has no code; with one, it had died before.
        if status.code().is_some() {
            self.complain(victim, &status.to_string()).await;
        }
    }

    /// Waits for all to end by themselves.
    pub(super) async fn wait(mut self) -> Outcome {
        for mut process in std::mem::take(&mut self.running) {
            let left = self.until.saturating_duration_since(Instant::now());
            let Ok(status) = tokio::time::timeout(left + PATIENCE, process.child.wait()).await
            else {
                process.child.start_kill().unwrap();
                self.complain(process, "it did not come to its end").await;
                continue;
            };
            let status = status.unwrap();
            let whole = self.outcome.facts.read(&self.journal(process.number));
            if !status.success() {
                self.complain(process, &status.to_string()).await;
            } else if !whole {
                self.complain(process, "it has not played its part").await;
            }
        }
        self.outcome.journals = self.folder;
        self.outcome
    }

    async fn complain(&mut self, process: Running, why: &str) {
        let said = process.said.await.unwrap();
        let number = process.number;
        self.outcome
            .errors
            .push(format!("process {number}: {why}\n{}", said.trim_end()));
    }

    fn journal(&self, number: u32) -> PathBuf {
        self.folder.join(format!("{number}.journal"))
    }
}
