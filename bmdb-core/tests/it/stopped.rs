//! Processes that are stopped past their lease and go on (SIGSTOP, SIGCONT), as after a suspended computer or a
//! debugger. The worker is a separate process: this test binary.

use crate::scenario::{Scenario, work_on};
use bmdb_core::control_loop::{
    Commit, ControlLoop, Failure, LoopOptions, Machine, Runner, Shutdown,
};
use bmdb_core::{Bmdb, Config, SessionOptions, Work};
use bmdb_model::{MachineId, Process};
use bmdb_testkit::TestDb;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::env;
use std::pin::pin;
use std::process::Stdio;
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const WORK: Process = Process::SHEPHERD_AGENT_START;

/// Set in the worker process, to the machine and the database.
const WORKER: &str = "BMDB_STOPPED_WORKER";

const INTERVAL: Duration = Duration::from_secs(1);

/// How long an action on the machine keeps its thread. The stop nearly always falls into one.
const ACTION: Duration = Duration::from_millis(30);

/// The worker prints this when it begins an action, and when it sees that it has to stop.
const ACTS: &str = "it acts";
const STOPS: &str = "it stops";

/// Post-mortem: `lost()` waited for a timer, and a timer is seen only when the runtime looks at its driver. So a
/// `select!` that asked it first began one more action after each stop.
#[tokio::test]
async fn after_a_stop_past_the_lease_a_select_that_asks_for_the_loss_first_does_not_act() {
    if let Ok(part) = env::var(WORKER) {
        let (session, work) = claim(&part).await;
        let mut lost = pin!(async { tokio::join!(session.lost(), work.lost()) });
        loop {
            tokio::select! {
                biased;
                _ = &mut lost => break,
                () = async { act() } => {}
            }
        }
        return say(STOPS);
    }
    let name =
        "stopped::after_a_stop_past_the_lease_a_select_that_asks_for_the_loss_first_does_not_act";
    assert_eq!(said_after_the_stop(name).await, [STOPS]);
}

#[tokio::test]
async fn after_a_stop_past_the_lease_a_loops_machine_is_stopped_before_it_acts() {
    if let Ok(part) = env::var(WORKER) {
        let (_, url) = part.split_once('\n').unwrap();
        let options = LoopOptions::default()
            .session(SessionOptions::default().interval(INTERVAL))
            .once(true);
        let bmdb = worker(url).await;
        let runner = Runner::new(&bmdb, Acts).options(options);
        runner.run(Shutdown::new()).await.unwrap();
        return;
    }
    let name = "stopped::after_a_stop_past_the_lease_a_loops_machine_is_stopped_before_it_acts";
    assert_eq!(said_after_the_stop(name).await, [STOPS]);
}

struct Acts;

impl ControlLoop for Acts {
    fn workflow(&self) -> Process {
        WORK
    }

    async fn process(&self, _: &Work, machine: &Machine) -> Result<Commit, Failure> {
        loop {
            tokio::select! {
                biased;
                () = machine.stop().cancelled() => break,
                () = acts_once() => {}
            }
        }
        say(STOPS);
        Err(Failure::cancel())
    }
}

/// An action that keeps its thread, so that the runtime does not look at its timers after it.
fn act() {
    say(ACTS);
    std::thread::sleep(ACTION);
}

/// Acts, and is polled again at once. Not `yield_now`, after which the runtime looks at its timers.
async fn acts_once() {
    act();
    let mut is_polled_again = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut is_polled_again, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[allow(clippy::print_stdout, reason = "the test reads it")]
fn say(what: &str) {
    println!("{what}");
}

async fn worker(url: &str) -> Bmdb {
    let config = Config::new(url).component("worker").janitor_interval(None);
    Bmdb::connect(config).await.unwrap()
}

async fn claim(part: &str) -> (bmdb_core::Session, Work) {
    let (machine, url) = part.split_once('\n').unwrap();
    let options = SessionOptions::default().interval(INTERVAL);
    let session = worker(url).await.start_session(options).await.unwrap();
    let work = work_on(&session, &WORK, machine.parse().unwrap()).await;
    (session, work.unwrap())
}

/// What a worker says after it was stopped past its lease, until it stops by itself.
async fn said_after_the_stop(name: &str) -> Vec<String> {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let (mut worker, mut said) = start(&s.db, name, machine).await;
    let pid = Pid::from_raw(worker.id().unwrap().try_into().unwrap());
    kill(pid, Signal::SIGSTOP).unwrap();
    // Real time has to pass here: it is the worker's own clock that is tested.
    let stopped = async {
        tokio::time::sleep(INTERVAL * 3 / 2).await;
        kill(pid, Signal::SIGCONT).unwrap();
    };
    // What it said before the stop; in an action that was under way nothing is said.
    let before = async {
        while let Ok(line) = tokio::time::timeout(INTERVAL, said.next_line()).await {
            line.unwrap().expect("it ended before it was stopped");
        }
    };
    tokio::join!(stopped, before);
    let mut after = Vec::new();
    while let Some(line) = said.next_line().await.unwrap() {
        if line.starts_with("it ") {
            let is_last = line == STOPS;
            after.push(line);
            if is_last || after.len() > 2 {
                break;
            }
        }
    }
    worker.start_kill().unwrap();
    worker.wait().await.unwrap();
    after
}

/// Starts a worker and waits until it acts.
async fn start(
    db: &TestDb,
    name: &str,
    machine: MachineId,
) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut worker = Command::new(env::current_exe().unwrap())
        .env(WORKER, format!("{machine}\n{}", db.url()))
        .args(["--exact", name, "--nocapture"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut said = BufReader::new(worker.stdout.take().unwrap()).lines();
    while let Some(line) = said.next_line().await.unwrap() {
        if line.ends_with(ACTS) {
            return (worker, said);
        }
    }
    panic!("the worker ended before it acted");
}
