//! The worker processes, each a `bmdb run`: starting them, killing one, and what they say they claimed.

use super::BACKOFF;
use crate::shell::{self, Failure, root};
use bmdb_model::{Fence, MachineId, Process, Provider};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;

/// What a worker said it claimed.
pub(crate) type Claims = Vec<(MachineId, Fence)>;

pub(crate) struct Workers(Vec<Worker>);

struct Worker {
    child: Child,
    pid: u32,
    killed: bool,
    claims: JoinHandle<Claims>,
}

/// Builds the command line.
pub(crate) fn build() -> Result<PathBuf, Failure> {
    shell::built("bmdb", &["--package", "bmdb-cli", "--bin", "bmdb"])
}

impl Workers {
    pub(crate) fn start(
        program: &Path,
        count: u16,
        url: &str,
        providers: &[&Provider],
    ) -> Result<Self, Failure> {
        let mut workers = Vec::new();
        for number in 0..count {
            let mut command = Command::new(program);
            command
                .env("BMDB_DATABASE_URL", url)
                .current_dir(root())
                .args(["run", "--json", "--history", "full"])
                .args(["--process", Process::SHEPHERD_AGENT_START.as_str()])
                .args(["--exec", "exec examples/start-agent.sh"])
                .arg("--set-agent-started-from-stdout")
                .args(["--backoff", &BACKOFF.to_string()])
                .args(["--parallelism", "4", "--interval", "2s"])
                .args(["--drain-timeout", "10s"]);
            for provider in providers {
                command.args(["--provider", provider.as_str()]);
            }
            let mut child = command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .map_err(|error| Failure::check(format!("worker {number}: {error}")))?;
            let pid = child.id().unwrap_or_default();
            let output = child.stdout.take();
            let claims = tokio::spawn(async move {
                let mut claims = Claims::new();
                let Some(output) = output else { return claims };
                let mut lines = BufReader::new(output).lines();
                while let Ok(Some(line)) = lines.next_line().await {
                    claims.extend(claim(&line));
                }
                claims
            });
            workers.push(Worker {
                child,
                pid,
                killed: false,
                claims,
            });
        }
        let pids: Vec<String> = workers
            .iter()
            .map(|worker| worker.pid.to_string())
            .collect();
        eprintln!("workers: pid {}", pids.join(", "));
        Ok(Self(workers))
    }

    /// Fails when a worker ended by itself.
    pub(crate) fn check(&mut self) -> Result<(), Failure> {
        for worker in self.0.iter_mut().filter(|worker| !worker.killed) {
            if let Some(status) = worker.child.try_wait().map_err(Failure::check)? {
                return Err(Failure::check(format!(
                    "worker {} ended: {status}",
                    worker.pid
                )));
            }
        }
        Ok(())
    }

    /// SIGKILL: the worker gets no chance to give anything back.
    pub(crate) async fn kill(&mut self, pid: u32) -> Result<(), Failure> {
        let Some(worker) = self.0.iter_mut().find(|worker| worker.pid == pid) else {
            return Err(Failure::check(format!("no worker has pid {pid}")));
        };
        worker.killed = true;
        worker.child.kill().await.map_err(Failure::check)
    }

    /// SIGTERM: the workers claim nothing more, end what they have and close their sessions.
    /// Returns everything that was claimed.
    pub(crate) async fn drain(self) -> Result<Claims, Failure> {
        for worker in self.0.iter().filter(|worker| !worker.killed) {
            let mut terminate = Command::new("kill");
            terminate
                .args(["-TERM", &worker.pid.to_string()])
                .stderr(Stdio::null());
            terminate.status().await.map_err(Failure::check)?;
        }
        let mut all = Claims::new();
        for mut worker in self.0 {
            let ended = tokio::time::timeout(Duration::from_secs(20), worker.child.wait()).await;
            match ended {
                Ok(Ok(status)) if status.success() || worker.killed => {}
                Ok(Ok(status)) => {
                    return Err(Failure::check(format!(
                        "worker {} ended: {status}",
                        worker.pid
                    )));
                }
                Ok(Err(error)) => return Err(Failure::check(error)),
                Err(_) => {
                    return Err(Failure::check(format!(
                        "worker {} does not end",
                        worker.pid
                    )));
                }
            }
            all.extend(worker.claims.await.map_err(Failure::check)?);
        }
        Ok(all)
    }
}

/// The claim that a line of a worker's output tells of.
fn claim(line: &str) -> Option<(MachineId, Fence)> {
    let event: serde_json::Value = serde_json::from_str(line).ok()?;
    (event["event"] == "started").then_some(())?;
    Some((
        event["machine"].as_str()?.parse().ok()?,
        Fence::new(event["fence"].as_i64()?),
    ))
}
