//! The worker processes: started, killed, stopped, replaced and drained.

use crate::clock;
use crate::failure::{Done, Failure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// How long a worker may take to drain.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(40);

/// Makes the command of the worker with this number, at this place.
type Launch = Box<dyn Fn(u32, usize) -> Command + Send + Sync>;

/// Workers have places, from 0 on; one that is replaced leaves its place to another.
pub(crate) struct Workers {
    launch: Launch,
    /// Where their output is written.
    folder: PathBuf,
    running: Vec<Running>,
    started: u32,
    /// Exits that no fault explains.
    pub(crate) complaints: Vec<String>,
}

#[derive(Debug)]
struct Running {
    number: u32,
    child: Child,
    /// Closes when this process dies, at which the worker ends. `Child::wait` would close it earlier if
    /// it owned it.
    _life: Option<ChildStdin>,
    pid: Pid,
    stderr: JoinHandle<String>,
}

impl fmt::Debug for Workers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.running).finish()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        clock::forget(self.pid);
    }
}

impl Workers {
    pub(crate) fn start(folder: &Path, count: usize, launch: Launch) -> Done<Self> {
        let mut workers = Self {
            launch,
            folder: folder.to_owned(),
            running: Vec::new(),
            started: 0,
            complaints: Vec::new(),
        };
        for place in 0..count {
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

    fn spawn(&mut self, place: usize) -> Done<Running> {
        let number = self.started;
        self.started += 1;
        let mut command = (self.launch)(number, place);
        let output = File::create(output(&self.folder, number))?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(Stdio::piped())
            // Ctrl-C reaches only this process, which drains them.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| Failure::step(format!("worker {number}: {error}")))?;
        let life = child.stdin.take();
        let stderr = child.stderr.take();
        let stderr = tokio::spawn(async move {
            let mut text = Vec::new();
            if let Some(mut stderr) = stderr {
                // What was read before an error is kept.
                let _ = stderr.read_to_end(&mut text).await;
            }
            String::from_utf8_lossy(&text).trim_end().to_owned()
        });
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok());
        Ok(Running {
            number,
            child,
            _life: life,
            pid: Pid::from_raw(pid.unwrap_or_default()),
            stderr,
        })
    }

    /// The journal of the worker that has this place now.
    pub(crate) fn journal_at(&self, place: usize) -> PathBuf {
        journal(&self.folder, self.running[place].number)
    }

    pub(crate) fn pid(&self, place: usize) -> Pid {
        self.running[place].pid
    }

    pub(crate) fn place_of(&self, pid: i32) -> Option<usize> {
        let has_pid = |worker: &Running| worker.pid.as_raw() == pid;
        self.running.iter().position(has_pid)
    }

    /// Kills a worker (SIGKILL) and gives its place to another.
    pub(crate) async fn kill(&mut self, place: usize) -> Done {
        self.replace_dead().await?;
        self.running[place].child.kill().await?;
        self.running[place] = self.spawn(place)?;
        Ok(())
    }

    /// Kills a worker (SIGKILL); the places after it move up.
    pub(crate) async fn remove(&mut self, place: usize) -> Done {
        Ok(self.running.remove(place).child.kill().await?)
    }

    /// Stops a worker (SIGSTOP) and continues it (SIGCONT) after that time. The returned process does
    /// that even if this one dies, because a stopped worker would not notice the death.
    pub(crate) fn stop(&self, place: usize, time: Duration) -> Done<Child> {
        let script = "kill -STOP $0; sleep $1; kill -CONT $0";
        let stopper = Command::new("sh")
            .args(["-c", script, &self.pid(place).to_string()])
            .arg(format!("{:.3}", time.as_secs_f64()))
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        Ok(stopper)
    }

    /// Replaces the workers that ended by themselves, and complains about them.
    pub(crate) async fn replace_dead(&mut self) -> Done {
        for place in 0..self.running.len() {
            if let Some(status) = self.running[place].child.try_wait()? {
                let replacement = self.spawn(place)?;
                let dead = std::mem::replace(&mut self.running[place], replacement);
                self.complain(dead, &format!("ended by itself: {status}"))
                    .await;
            }
        }
        Ok(())
    }

    /// Drains all workers (SIGTERM): they claim nothing more, end their work and close their sessions.
    /// Returns the numbers of those that succeeded.
    pub(crate) async fn drain(&mut self) -> Done<Vec<u32>> {
        self.replace_dead().await?;
        for worker in &self.running {
            // It may end by itself at this moment.
            let _ = kill(worker.pid, Signal::SIGTERM);
        }
        let mut drained = Vec::new();
        for mut worker in std::mem::take(&mut self.running) {
            match timeout(DRAIN_TIMEOUT, worker.child.wait()).await {
                Ok(status) => {
                    let status = status?;
                    if status.success() {
                        drained.push(worker.number);
                    } else {
                        self.complain(worker, &format!("drained with {status}"))
                            .await;
                    }
                }
                Err(_) => {
                    worker.child.kill().await?;
                    let late = format!("did not drain within {} s", DRAIN_TIMEOUT.as_secs());
                    self.complain(worker, &late).await;
                }
            }
        }
        Ok(drained)
    }

    async fn complain(&mut self, mut worker: Running, problem: &str) {
        let stderr = (&mut worker.stderr).await.unwrap_or_default();
        let number = worker.number;
        self.complaints
            .push(format!("worker {number} {problem}\n{stderr}"));
    }
}

pub(crate) fn journal(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number}.journal"))
}

/// The file with a worker's standard output.
pub(crate) fn output(folder: &Path, number: u32) -> PathBuf {
    folder.join(format!("{number}.out"))
}
