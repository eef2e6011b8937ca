//! How soon the machine of a killed worker can be claimed again, with the worker in a separate process (this
//! test binary), and by the database's clock.

use crate::scenario::{Scenario, work_on};
use bmdb_core::{Bmdb, Config, SessionOptions, WorkError};
use bmdb_model::{MachineId, Process, ProcessDef};
use bmdb_testkit::TestDb;
use std::env;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

const WORK: Process = Process::from_static("AcmeWork");

/// Set in the worker process, to the machine and the database.
const WORKER: &str = "BMDB_KILLED_WORKER";

/// The worker prints this when it has claimed the machine.
const CLAIMED: &str = "it has claimed the machine";

/// The test that acts as the worker in its process.
const PLAYER: &str = "janitor::killed::a_killed_workers_machine_is_free_after_the_interval_the_loss_delay_and_a_second";

/// The shortest possible lease and loss delay.
const INTERVAL: Duration = Duration::from_secs(1);
const LOSS_DELAY: Duration = Duration::from_secs(1);

/// How long the janitor may take to find the loss.
const JANITOR: Duration = Duration::from_secs(1);

/// How many measurements may be late, as on a busy computer, before the test fails.
const TRIES: usize = 4;

/// The times between the kill and the next claim, in milliseconds of the database's clock.
#[derive(Debug)]
struct Measured {
    /// From the kill to the lease's end.
    lease: i64,
    /// From there to the record of the loss.
    found: i64,
    /// From there until the machine could be claimed.
    delay: i64,
    /// From the kill to the next claim.
    whole: i64,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_workers_machine_is_free_after_the_interval_the_loss_delay_and_a_second() {
    if let Ok(part) = env::var(WORKER) {
        return hold(&part).await;
    }
    let s = Scenario::new().await;
    let definition = ProcessDef::new(WORK).loss_delay(1, 1);
    s.owner().await.define_process(&definition).await.unwrap();
    let _janitor = Bmdb::connect(Config::new(s.db.url()).component("janitor"))
        .await
        .unwrap();
    let millis = |time: Duration| i64::try_from(time.as_millis()).unwrap();
    let (longest_found, longest) = (millis(JANITOR), millis(INTERVAL + JANITOR + LOSS_DELAY));
    let mut late = Vec::new();
    for number in 0..TRIES {
        let machine = s.provided(&number.to_string()).await;
        let measured = measure(&s, machine).await;
        // These do not depend on the load of the computer.
        assert!(measured.lease <= millis(INTERVAL), "{measured:?}");
        assert_eq!(measured.delay, millis(LOSS_DELAY), "{measured:?}");
        if measured.found <= longest_found && measured.whole <= longest {
            return;
        }
        late.push(measured);
    }
    panic!("late every time: {late:?}");
}

/// Kills a worker that has claimed the machine, and claims the machine as soon as that can be done.
async fn measure(s: &Scenario, machine: MachineId) -> Measured {
    let mut worker = start(&s.db, machine).await;
    let lease = s.rows("SELECT session_id FROM work").await.remove(0);
    worker.start_kill().unwrap();
    let status = worker.wait().await.unwrap();
    assert_eq!(status.code(), None, "it was killed: {status}");
    let state = format!(
        "SELECT clock_timestamp(), session_deadline FROM sessions WHERE session_id = '{lease}'"
    );
    let state = s.rows(&state).await.remove(0);
    let (killed, deadline) = state.split_once('|').unwrap();
    let work = loop {
        match work_on(&s.session, &WORK, machine).await {
            Ok(work) => break work,
            Err(WorkError::Conflict { .. } | WorkError::BackedOff { .. }) => {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(error) => panic!("{error}"),
        }
    };
    let millis =
        |from: &str, to: &str| format!("(1000 * extract(epoch FROM {to} - {from}))::bigint");
    let (killed, deadline) = (
        format!("timestamptz '{killed}'"),
        format!("timestamptz '{deadline}'"),
    );
    let times = format!(
        "SELECT {}, {}, {}, {} FROM work_item i JOIN work_attempt a USING (machine_id, process)
         WHERE i.machine_id = '{machine}' AND i.session_id IS NOT NULL AND a.outcome = 'Expired'",
        millis(&killed, &deadline),
        millis(&deadline, "a.ended_at"),
        millis("a.ended_at", "i.backoff_until"),
        millis(&killed, "i.started_at"),
    );
    let times = s.rows(&times).await.remove(0);
    let times: Vec<i64> = times.split('|').map(|time| time.parse().unwrap()).collect();
    work.complete().await.unwrap();
    let [lease, found, delay, whole] = times[..] else {
        panic!("{times:?}");
    };
    Measured {
        lease,
        found,
        delay,
        whole,
    }
}

/// Starts a worker and waits until it has claimed the machine.
async fn start(db: &TestDb, machine: MachineId) -> Child {
    let mut worker = Command::new(env::current_exe().unwrap())
        .env(WORKER, format!("{machine}\n{}", db.url()))
        .args(["--exact", PLAYER, "--nocapture"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(worker.stdout.take().unwrap()).lines();
    while let Some(line) = said.next_line().await.unwrap() {
        if line.ends_with(CLAIMED) {
            return worker;
        }
    }
    panic!("the worker ended before it claimed the machine");
}

/// The worker: claims the machine and waits to be killed.
#[allow(
    clippy::print_stdout,
    reason = "the test reads when it holds the machine"
)]
async fn hold(part: &str) {
    let (machine, url) = part.split_once('\n').unwrap();
    let config = Config::new(url).component("worker").janitor_interval(None);
    let bmdb = Bmdb::connect(config).await.unwrap();
    let session = bmdb
        .start_session(SessionOptions::default().interval(INTERVAL))
        .await
        .unwrap();
    let machine = machine.parse().unwrap();
    let _work = work_on(&session, &WORK, machine).await.unwrap();
    println!("{CLAIMED}");
    std::future::pending().await
}
