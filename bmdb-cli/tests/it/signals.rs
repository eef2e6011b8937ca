//! Signals end every command, also as process 1 of a container, where those without a handler are ignored.

use crate::bmdb::{as_owner, at, bmdb, due_machine, locked, nowhere, until};
use crate::process_1::{Process1, SOON};
use crate::reference::{help, sub_commands};
use bmdb_testkit::TestDb;
use nix::pty::openpty;
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

/// Commands that need no database.
const OFFLINE: [&str; 3] = ["completions", "man", "tag list"];

/// The arguments of every command, once for each way to run it.
fn all_commands() -> Vec<Vec<String>> {
    let mut commands = Vec::new();
    collect(&mut Vec::new(), &mut commands);
    assert!(commands.len() > 40, "{commands:?}");
    commands
}

fn collect(path: &mut Vec<String>, commands: &mut Vec<Vec<String>>) {
    let text = help(path);
    let subs = sub_commands(&text);
    for name in &subs {
        path.push(name.clone());
        collect(path, commands);
        path.pop();
    }
    if subs.is_empty() && !OFFLINE.contains(&path.join(" ").as_str()) {
        let args = arguments(path, &text);
        if text.contains("--watch") {
            commands.push([args.clone(), vec!["--watch".to_owned()]].concat());
        }
        if path.join(" ") == "agent heartbeat" {
            commands.push([path.clone(), vec!["-".to_owned()]].concat());
        }
        commands.push(args);
    }
}

/// The command with a value for each argument that the usage requires.
fn arguments(path: &[String], help: &str) -> Vec<String> {
    let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/fleet.json");
    let usage = help
        .lines()
        .find(|line| line.starts_with("Usage: "))
        .unwrap();
    let words = usage.split_whitespace().skip(2 + path.len());
    let words = words.filter(|word| !word.starts_with('['));
    let mut args: Vec<&str> = words
        .map(|word| match word.trim_end_matches("...") {
            "<MACHINE>" | "<SESSION>" => id,
            "<PROCESS>" => "ShepherdAgentStart",
            "<TAG>" => "agent_started",
            "<FILE>" => file,
            "<TEXT>" => "a test",
            "<FENCE>" => "1",
            "<COMMAND>" => "sleep 1",
            option if option.starts_with('-') => option,
            other => panic!("name a value for {other} of {path:?} in this test"),
        })
        .collect();
    args.extend(match path.join(" ").as_str() {
        "process limit" => ["--max-running", "1"].as_slice(),
        "process breaker" => &["--due", "5%"],
        "tag set" => &["public_key=k"],
        "serve" => &["--listen", "127.0.0.1:0"],
        _ => &[],
    });
    if help.contains("--yes") {
        args.push("--yes");
    }
    let args = args.into_iter().map(str::to_owned);
    path.iter().cloned().chain(args).collect()
}

/// A server that takes connections and says nothing.
struct Silent(TcpListener);

impl Silent {
    fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn url(&self) -> String {
        let port = self.0.local_addr().unwrap().port();
        format!("postgres://u@127.0.0.1:{port}/d?sslmode=disable")
    }

    /// Waits until the program waits for an answer, on a connection that stays open.
    fn is_asked(&self, running: &mut Process1, what: &str) -> TcpStream {
        let deadline = Instant::now() + SOON;
        loop {
            if let Ok((stream, _)) = self.0.accept() {
                return stream;
            }
            if running.has_ended() || Instant::now() > deadline {
                let mut stderr = String::new();
                running.outer().kill().unwrap();
                let pipe = running.outer().stderr.as_mut();
                pipe.unwrap().read_to_string(&mut stderr).unwrap();
                panic!("{what} does not connect: {stderr}");
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

/// The exit code after a signal, which is sent once the program is ready. What that returns is kept until then.
fn code_after<T>(
    command: &Command,
    signal: Signal,
    ready: impl FnOnce(&mut Process1) -> T,
) -> Option<i32> {
    let mut running = Process1::start(command);
    let _kept = ready(&mut running);
    running.signal(signal);
    let what = format!("{command:?} after {signal}");
    let ran = running.ended(&what);
    assert!(ran.stderr.len() < 10_000, "{what}");
    ran.status.code()
}

/// In a container `docker stop` took ten seconds, for a SIGKILL, and `bmdb run` ignored its Ctrl-C while it
/// was waiting for its first connection.
#[test]
fn every_command_ends_while_its_database_does_not_answer() {
    let silent = Silent::new();
    for (n, args) in all_commands().iter().enumerate() {
        let what = args.join(" ");
        let all = [
            (Signal::SIGTERM, 143),
            (Signal::SIGINT, 130),
            (Signal::SIGHUP, 129),
            (Signal::SIGQUIT, 131),
        ];
        // SIGTERM for each, and the others in turn.
        for (signal, code) in [all[0], all[1 + n % 3]] {
            let command = at(&silent.url()).args(args).command();
            let ended = code_after(&command, signal, |running| silent.is_asked(running, &what));
            assert_eq!(ended, Some(code), "{what} after {signal}");
        }
    }
}

#[tokio::test]
async fn services_end_in_order() {
    let db = TestDb::new().await.unwrap();
    due_machine(&db, "a").await;
    let run = [
        "run",
        "--process",
        "ShepherdAgentStart",
        "--exec",
        "exit 75",
        "--json",
    ];
    let serve = ["serve", "--listen", "127.0.0.1:0", "--json"];
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        for args in [&serve[..], &run] {
            let command = bmdb(&db).args(args).command();
            let code = code_after(&command, signal, |running| drop(first_line(running)));
            assert_eq!(code, Some(0), "{args:?} after {signal}");
        }
        let command = bmdb(&db).args(["janitor"]).command();
        let code = code_after(&command, signal, |running| {
            let log = running.outer().stderr.as_mut().unwrap();
            let mut log = BufReader::new(log).lines();
            assert!(log.any(|line| line.unwrap().contains("the janitor is running")));
        });
        assert_eq!(code, Some(0), "janitor after {signal}");
    }
}

fn first_line(running: &mut Process1) -> String {
    let mut line = String::new();
    let stdout = running.outer().stdout.as_mut().unwrap();
    BufReader::new(stdout).read_line(&mut line).unwrap();
    line
}

#[tokio::test]
async fn a_watch_ends_with_success_by_ctrl_c_alone() {
    let db = TestDb::new().await.unwrap();
    for (signal, expected) in [
        (Signal::SIGINT, 0),
        (Signal::SIGTERM, 143),
        (Signal::SIGHUP, 129),
    ] {
        let watch = ["process", "list", "--watch", "--json"];
        let command = bmdb(&db).args(watch).command();
        let code = code_after(&command, signal, |running| drop(first_line(running)));
        assert_eq!(code, Some(expected), "{signal}");
    }
}

#[tokio::test]
async fn reading_standard_input_can_be_ended() {
    let db = TestDb::new().await.unwrap();
    let machine = due_machine(&db, "a").await;
    let heartbeat = bmdb(&db).args(["agent", "heartbeat", "-"]).command();
    let mut running = Process1::start(&heartbeat);
    let stdin = running.outer().stdin.as_mut().unwrap();
    writeln!(stdin, "{machine}").unwrap();
    until(&db, "SELECT 1 FROM machine_agent_heartbeat").await;
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ended("heartbeat").status.code(), Some(0));

    let import = bmdb(&db).args(["machine", "import", "-"]).command();
    let code = code_after(&import, Signal::SIGTERM, |running| {
        // More than a pipe holds, so the program has begun to read when all of it is written.
        let stdin = running.outer().stdin.as_mut().unwrap();
        stdin.write_all(&[b' '; 100_000]).unwrap();
    });
    assert_eq!(code, Some(143));
}

/// A migration waits for a lock for minutes.
#[tokio::test]
async fn a_migration_that_waits_for_locks_can_be_ended() {
    let db = Arc::new(TestDb::at_version("20261122000500").await.unwrap());
    let holder = locked(&db, "machines, sessions, work_item, work_attempt").await;
    let command = as_owner(&db).args(["migrate", "up"]).command();
    let code = code_after(&command, Signal::SIGTERM, |running| {
        let log = running.outer().stderr.as_mut().unwrap();
        let mut log = BufReader::new(log).lines();
        assert!(log.any(|line| line.unwrap().contains("the migration")));
    });
    assert_eq!(code, Some(143));
    holder.abort();
}

/// Ctrl-C at a question ended the program, SIGTERM as process 1 did not.
#[tokio::test]
async fn a_question_can_be_left_unanswered() {
    let db = TestDb::new().await.unwrap();
    let machine = due_machine(&db, "a").await.to_string();
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let pty = openpty(None, None).unwrap();
        let delete = ["machine", "delete", &machine, "--reason", "test"];
        let mut command = bmdb(&db).args(delete).command();
        let slave = || Stdio::from(pty.slave.try_clone().unwrap());
        command.stdin(slave()).stderr(slave()).stdout(Stdio::null());
        let mut child = command.process_group(0).spawn().unwrap();
        let mut master = std::fs::File::from(pty.master.try_clone().unwrap());
        let mut asked = Vec::new();
        while !asked.ends_with(b"[y/N] ") {
            let mut byte = [0];
            master.read_exact(&mut byte).unwrap();
            asked.push(byte[0]);
        }
        crate::bmdb::signal(&child, signal);
        let code = child.wait().unwrap().code();
        assert_eq!(code, Some(128 + signal as i32));
    }
    assert_eq!(
        db.rows("SELECT count(*) FROM machines").await.unwrap(),
        ["1"]
    );
}

/// A write to a pager that was stopped blocks the thread that would see the signal.
#[test]
fn a_command_whose_output_nobody_reads_can_be_ended() {
    for again in [false, true] {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let size = nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096);
        nix::fcntl::fcntl(&writer, size).unwrap();
        let mut command = nowhere().args(["completions", "zsh"]).command();
        let mut child = command.stdout(writer).spawn().unwrap();
        drop(command);
        reader.read_exact(&mut [0]).unwrap();
        let began = Instant::now();
        crate::bmdb::signal(&child, Signal::SIGTERM);
        if again {
            std::thread::sleep(std::time::Duration::from_millis(300));
            crate::bmdb::signal(&child, Signal::SIGTERM);
        }
        assert_eq!(child.wait().unwrap().code(), Some(143));
        // The second signal does not wait for an orderly end.
        assert!(began.elapsed() < if again { SOON / 4 } else { SOON });
    }
}

/// `nohup bmdb …` goes on when its terminal closes.
#[test]
fn an_ignored_hangup_stays_ignored() {
    let silent = Silent::new();
    let inner = at(&silent.url()).args(["stats"]).command();
    let mut command = Command::new("nohup");
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let mut running = Process1::start(&command);
    let _open = silent.is_asked(&mut running, "stats");
    running.signal(Signal::SIGHUP);
    std::thread::sleep(std::time::Duration::from_millis(100));
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ended("stats").status.code(), Some(143));
}
