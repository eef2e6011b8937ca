//! Readers that have stopped, as under `less`, after Ctrl-S, or with a log driver that has stalled.

use super::{Running, SOON, Stage};
use crate::bmdb::{Bmdb, bmdb, until};
use bmdb_model::Provider;
use nix::sys::signal::Signal;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A command that begins, and ends once it may.
const GATE: &str = "echo x > $FOLDER/begun; until test -e $FOLDER/gate; do sleep 0.01; done";

/// Who holds machines, and still may.
const HOLDER: &str = "SELECT DISTINCT session_id FROM work JOIN sessions USING (session_id)
                      WHERE session_deadline > clock_timestamp()";

/// A pipe that is full, and whose reader has stopped.
struct Full {
    reader: PipeReader,
    filler: JoinHandle<()>,
    enough: Arc<AtomicBool>,
}

impl Full {
    fn new() -> (Self, PipeWriter) {
        let (reader, writer) = std::io::pipe().unwrap();
        let mut full = writer.try_clone().unwrap();
        let enough = Arc::new(AtomicBool::new(false));
        let is_enough = enough.clone();
        let filler = std::thread::spawn(move || {
            while !is_enough.load(Ordering::Relaxed) && full.write_all(&[b'\n'; 4096]).is_ok() {}
        });
        std::thread::sleep(Duration::from_millis(100));
        let full = Self {
            reader,
            filler,
            enough,
        };
        (full, writer)
    }

    /// Reads all that comes until nobody writes any more.
    fn read(mut self) -> JoinHandle<String> {
        self.enough.store(true, Ordering::Relaxed);
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
async fn a_standard_output_that_nobody_reads_costs_no_lease() {
    let s = Stage::new().await;
    let (full, writer) = Full::new();
    let mut command = s.bmdb(GATE).args(["--interval", "1s"]).command();
    let child = command.stdin(Stdio::null()).stdout(writer).spawn().unwrap();
    let running = Running(Some(child));
    outlives_its_lease(&s).await;
    ends_in_order(&s, running).await;
    full.gone();
}

#[tokio::test]
async fn a_log_that_nobody_reads_costs_no_lease() {
    let s = Stage::new().await;
    let (full, writer) = Full::new();
    let program = s.bmdb(GATE).args(["-vvv", "--interval", "1s"]);
    let running = with_stderr(program, writer);
    outlives_its_lease(&s).await;
    ends_in_order(&s, running).await;
    full.gone();
}

#[tokio::test]
async fn a_log_that_is_read_again_tells_what_is_missing() {
    let s = Stage::new().await;
    // Is worked on again and again, which makes the log longer.
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
    let told =
        r#""fields":{"message":"lines are left out here, which nobody has read in time","lines":"#;
    assert!(lines.any(|line| line.contains(told)), "{log}");
    assert!(lines.all(|line| line.ends_with('}')), "{log}");
}

#[tokio::test]
async fn a_failure_that_nobody_reads_ends_the_program_all_the_same() {
    let s = Stage::new().await;
    let (full, writer) = Full::new();
    let unknown = bmdb(&s.db).args(["run", "--process", "Unknown", "--exec", "true"]);
    assert_eq!(with_stderr(unknown, writer).ended().code, Some(3));
    full.gone();
}

#[tokio::test]
async fn a_janitor_whose_log_nobody_reads_goes_on_and_ends_in_order() {
    let s = Stage::new().await;
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

/// The work that has begun is held by the same session several leases later.
async fn outlives_its_lease(s: &Stage) {
    s.written("begun");
    let holder = s.db.rows(HOLDER).await.unwrap();
    assert_eq!(holder.len(), 1);
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(s.db.rows(HOLDER).await.unwrap(), holder);
}

async fn ends_in_order(s: &Stage, running: Running) {
    running.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(50));
    std::fs::write(s.folder.join("gate"), "").unwrap();
    assert_eq!(running.ended().code, Some(0));
    assert_eq!(s.attempts().await, ["Finished||"]);
}
