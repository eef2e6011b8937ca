//! Readers of output that have stopped, as under `less`, after Ctrl-S, or with a stalled log driver.

use super::{Fixture, Running, SOON};
use crate::bmdb::{Bmdb, bmdb, until};
use bmdb_model::Provider;
use nix::sys::signal::Signal;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A command that runs until the file `gate` exists.
const GATE: &str = "echo x > $FOLDER/begun; until test -e $FOLDER/gate; do sleep 0.01; done";

/// The live sessions with claimed machines.
const LIVE_SESSIONS: &str = "SELECT DISTINCT session_id FROM work JOIN sessions USING (session_id)
                      WHERE session_deadline > clock_timestamp()";

/// A full pipe whose reader has stopped.
struct Full {
    reader: PipeReader,
    filler: JoinHandle<()>,
    is_read: Arc<AtomicBool>,
}

impl Full {
    fn new() -> (Self, PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut full = writer.try_clone().unwrap();
        let is_read = Arc::new(AtomicBool::new(false));
        let stop = is_read.clone();
        let filler = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) && full.write_all(&[b'\n'; 4096]).is_ok() {}
        });
        std::thread::sleep(Duration::from_millis(100));
        let full = Self {
            reader,
            filler,
            is_read,
        };
        (full, writer)
    }

    /// Reads until all writers have closed the pipe.
    fn read(mut self) -> JoinHandle<String> {
        self.is_read.store(true, Ordering::Relaxed);
        std::thread::spawn(move || {
            let mut text = String::new();
            self.reader.read_to_string(&mut text).unwrap();
            self.filler.join().unwrap();
            text
        })
    }

    fn gone(self) {
        drop(self.reader);
        self.filler.join().unwrap();
    }
}

fn with_stderr(bmdb: Bmdb, stderr: PipeWriter) -> Running {
    let mut command = bmdb.command();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null());
    Running(Some(child.stderr(stderr).spawn().unwrap()))
}

#[tokio::test]
async fn the_lease_survives_a_standard_output_that_is_not_read() {
    let s = Fixture::new().await;
    let (full, writer) = Full::new();
    let mut command = s.bmdb(GATE).args(["--interval", "1s"]).command();
    let child = command.stdin(Stdio::null()).stdout(writer).spawn().unwrap();
    let running = Running(Some(child));
    outlives_its_lease(&s).await;
    ends_in_order(&s, running).await;
    full.gone();
}

#[tokio::test]
async fn the_lease_survives_a_log_that_is_not_read() {
    let s = Fixture::new().await;
    let (full, writer) = Full::new();
    let program = s.bmdb(GATE).args(["-vvv", "--interval", "1s"]);
    let running = with_stderr(program, writer);
    outlives_its_lease(&s).await;
    ends_in_order(&s, running).await;
    full.gone();
}

#[tokio::test]
async fn a_log_that_is_read_again_reports_dropped_lines() {
    let s = Fixture::new().await;
    // This machine is claimed repeatedly, which makes the log longer.
    let other = s.db.machine().provided(&Provider::EQUINIX, "b").planned();
    other.create().await.unwrap();
    let (full, writer) = Full::new();
    let gate = format!("test $BMDB_PROVIDER_ID = b || {{ {GATE}; }}");
    let program = s.bmdb(&gate).args(["-vvv", "--interval", "1s", "--json"]);
    let running = with_stderr(program, writer);
    outlives_its_lease(&s).await;
    let log = full.read();
    std::fs::write(s.folder.join("gate"), "").unwrap();
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ended().code, Some(0));
    let log = log.join().unwrap();
    let mut lines = log.lines().filter(|line| !line.is_empty());
    let dropped =
        r#""fields":{"message":"log lines dropped here: the reader was too slow","lines":"#;
    assert!(lines.any(|line| line.contains(dropped)), "{log}");
    assert!(lines.all(|line| line.ends_with('}')), "{log}");
}

#[tokio::test]
async fn a_failure_that_is_not_read_still_ends_the_program() {
    let s = Fixture::new().await;
    let (full, writer) = Full::new();
    let unknown = bmdb(&s.db).args(["run", "--process", "Unknown", "--exec", "true"]);
    assert_eq!(with_stderr(unknown, writer).ended().code, Some(3));
    full.gone();
}

#[tokio::test]
async fn a_janitor_whose_log_is_not_read_continues_and_ends_in_order() {
    let s = Fixture::new().await;
    let (full, writer) = Full::new();
    let janitor = bmdb(&s.db).args(["janitor", "-vvv"]);
    let janitor = with_stderr(janitor, writer);
    std::thread::sleep(Duration::from_secs(1));
    let dead = "INSERT INTO sessions (session_id, session_component_name, session_runtime_info,
                    session_created_at, session_interval_seconds, session_deadline)
                VALUES (gen_random_uuid(), 'dead', '', now(), 5, now() - interval '1 hour')";
    s.db.run_sql(dead).await.unwrap();
    let gone = "SELECT 1 WHERE NOT EXISTS
                    (SELECT FROM sessions WHERE session_component_name = 'dead')";
    tokio::time::timeout(SOON, until(&s.db, gone))
        .await
        .unwrap();
    janitor.signal(Signal::SIGTERM);
    assert_eq!(janitor.ended().code, Some(0));
    full.gone();
}

/// The same session still has the work claimed after several leases.
async fn outlives_its_lease(s: &Fixture) {
    s.written("begun");
    let sessions = s.db.rows(LIVE_SESSIONS).await.unwrap();
    assert_eq!(sessions.len(), 1);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(s.db.rows(LIVE_SESSIONS).await.unwrap(), sessions);
}

async fn ends_in_order(s: &Fixture, running: Running) {
    running.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(50));
    std::fs::write(s.folder.join("gate"), "").unwrap();
    assert_eq!(running.ended().code, Some(0));
    assert_eq!(s.attempts().await, ["Finished||"]);
}
