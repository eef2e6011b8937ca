//! The worker processes, from the outside: started, killed, stopped, drained, measured.

use super::clock::{self, Clock};
use super::memory::Memory;
use crate::shell::{self, Failure};
use bmdb_testkit::journal::{self, Entry};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;

/// How long a worker may take over its end.
const PATIENCE: Duration = Duration::from_secs(40);

#[derive(Debug)]
pub(crate) struct Workers {
    program: PathBuf,
    journals: PathBuf,
    seed: u64,
    clock: Option<Clock>,
    /// The database, as each of them reaches it.
    urls: Vec<String>,
    running: Vec<Running>,
    started: u32,
    /// Of the first one, which is never killed.
    pub(crate) memory: Memory,
    /// Ends that no fault accounts for.
    pub(crate) complaints: Vec<String>,
}

#[derive(Debug)]
struct Running {
    number: u32,
    child: Child,
    /// Open as long as this process lives, and the worker with it. Waiting for a child that had it would
    /// close it.
    _life: Option<ChildStdin>,
    pid: Pid,
    said: JoinHandle<String>,
}

impl Drop for Running {
    fn drop(&mut self) {
        clock::forget(self.pid);
    }
}

/// Builds the worker.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    shell::example("soak_worker", &[])
}

impl Workers {
    /// One worker for each of these URLs.
    pub(crate) fn start(
        program: &Path,
        journals: &Path,
        seed: u64,
        clock: Option<Clock>,
        urls: Vec<String>,
    ) -> Result<Self, Failure> {
        let mut workers = Self {
            program: program.to_owned(),
            journals: journals.to_owned(),
            seed,
            clock,
            urls,
            running: Vec::new(),
            started: 0,
            memory: Memory::default(),
            complaints: Vec::new(),
        };
        for place in 0..workers.urls.len() {
            let worker = workers.spawn(place)?;
            workers.running.push(worker);
        }
        Ok(workers)
    }

    pub(crate) fn count(&self) -> usize {
        self.running.len()
    }

    pub(crate) fn started(&self) -> u32 {
        self.started
    }

    pub(crate) fn clock(&self) -> Option<&Clock> {
        self.clock.as_ref()
    }

    fn spawn(&mut self, place: usize) -> Result<Running, Failure> {
        let number = self.started;
        self.started += 1;
        let mut command = Command::new(&self.program);
        command
            .args(["--database-url", &self.urls[place]])
            .args(["--number", &number.to_string()])
            .args(["--seed", &self.seed.to_string()])
            .arg("--journal")
            .arg(self.journal(number));
        if let Some(clock) = self.clock.as_ref().filter(|clock| clock.place == place) {
            clock.rule(&mut command);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            // Ctrl-C is for whoever drains them.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::check(format!("{}: {error}", self.program.display())))?;
        let life = child.stdin.take();
        let stderr = child.stderr.take();
        let said = tokio::spawn(async move {
            let mut said = Vec::new();
            if let Some(mut stderr) = stderr {
                // What was read before an error is told.
                let _ = stderr.read_to_end(&mut said).await;
            }
            String::from_utf8_lossy(&said).into_owned()
        });
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Ok(Running {
            number,
            child,
            _life: life,
            pid: Pid::from_raw(pid.unwrap_or_default()),
            said,
        })
    }

    fn journal(&self, number: u32) -> PathBuf {
        self.journals.join(format!("{number}.journal"))
    }

    /// The journal of the worker that has this place now.
    pub(crate) fn journal_at(&self, place: usize) -> PathBuf {
        self.journal(self.running[place].number)
    }

    pub(crate) fn pid(&self, place: usize) -> Pid {
        self.running[place].pid
    }

    /// SIGKILL, and another worker takes the place.
    pub(crate) async fn kill(&mut self, place: usize) -> Result<(), Failure> {
        self.replace_dead().await?;
        self.running[place]
            .child
            .kill()
            .await
            .map_err(Failure::check)?;
        self.running[place] = self.spawn(place)?;
        Ok(())
    }

    /// SIGSTOP, and SIGCONT after that time, even if this process has died meanwhile: a stopped worker
    /// would not notice that. Returns when it goes on again, or, when the returned future is dropped,
    /// lets it go on alone.
    pub(crate) fn stop(&self, place: usize, time: Duration) -> Result<Child, Failure> {
        let script = "kill -STOP $0; sleep $1; kill -CONT $0";
        Command::new("sh")
            .args(["-c", script, &self.pid(place).to_string()])
            .arg(format!("{:.3}", time.as_secs_f64()))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(Failure::check)
    }

    /// Replaces workers that have ended by themselves, and complains.
    pub(crate) async fn replace_dead(&mut self) -> Result<(), Failure> {
        for place in 0..self.running.len() {
            let status = self.running[place].child.try_wait();
            if let Some(status) = status.map_err(Failure::check)? {
                let dead = self.spawn(place)?;
                let dead = std::mem::replace(&mut self.running[place], dead);
                self.complain(dead, &format!("has ended by itself: {status}"))
                    .await;
            }
        }
        Ok(())
    }

    pub(crate) fn measure(&mut self, at: Duration) {
        if let Some(first) = self.running.first() {
            self.memory.sample(at, first.pid);
        }
    }

    /// SIGTERM: they claim nothing more, end what they have and close their sessions.
    pub(crate) async fn drain(&mut self) -> Result<(), Failure> {
        self.replace_dead().await?;
        for worker in &self.running {
            // It may end just now, which is as good.
            let _ = kill(worker.pid, Signal::SIGTERM);
        }
        for mut worker in std::mem::take(&mut self.running) {
            match tokio::time::timeout(PATIENCE, worker.child.wait()).await {
                Ok(Ok(status)) if status.success() => {
                    let journal = self.journal(worker.number);
                    let entries = journal::read(&journal).map_err(Failure::check)?;
                    if entries.last() != Some(&Entry::Saw("the end".to_owned())) {
                        self.complain(worker, "has not noted its end").await;
                    }
                }
                Ok(Ok(status)) => {
                    self.complain(worker, &format!("has drained with {status}"))
                        .await;
                }
                Ok(Err(error)) => return Err(Failure::check(error)),
                Err(_) => {
                    // It is reaped here; its words come with its end.
                    worker.child.kill().await.map_err(Failure::check)?;
                    let late = format!("has not drained within {} s", PATIENCE.as_secs());
                    self.complain(worker, &late).await;
                }
            }
        }
        Ok(())
    }

    async fn complain(&mut self, mut worker: Running, why: &str) {
        let said = (&mut worker.said).await.unwrap_or_default();
        let said = said.trim_end();
        self.complaints
            .push(format!("worker {} {why}\n{said}", worker.number));
    }
}

/// Everything that all workers have noted, process by process.
pub(crate) fn read_journals(folder: &Path) -> Result<Vec<Vec<Entry>>, Failure> {
    let mut paths = Vec::new();
    for file in fs::read_dir(folder).map_err(Failure::check)? {
        let path = file.map_err(Failure::check)?.path();
        if path.extension().is_some_and(|kind| kind == "journal") {
            paths.push(path);
        }
    }
    paths.sort();
    paths
        .iter()
        .map(|path| {
            journal::read(path)
                .map_err(|error| Failure::check(format!("{}: {error}", path.display())))
        })
        .collect()
}
