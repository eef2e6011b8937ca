//! `bmdb agent`: heartbeats from arguments and standard input, and who listens.

use crate::bmdb::{Bmdb, Ran, at, bmdb, signal, until};
use bmdb_model::{MachineId, Provider, SessionId};
use bmdb_testkit::{Proxy, TestDb};
use nix::sys::signal::Signal;
use serde_json::json;
use std::io::Write;
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

const LISTENING: &str = "SELECT 1 FROM agent_listener_alive";

/// A database in which nobody is assumed to listen.
async fn unassumed() -> TestDb {
    let db = TestDb::new().await.unwrap();
    db.run_sql("DELETE FROM agent_listening").await.unwrap();
    db
}

/// A machine whose agent was heard an hour ago.
async fn agent(db: &TestDb, id: &str) -> MachineId {
    let hour = Duration::from_secs(3600);
    let machine = db
        .machine()
        .provided(&Provider::EQUINIX, id)
        .agent_started(2 * hour);
    machine
        .agent_heartbeat(hour)
        .planned()
        .create()
        .await
        .unwrap()
}

/// Whose heartbeats are fresh.
async fn fresh(db: &TestDb) -> Vec<String> {
    let fresh =
        "SELECT provider_id FROM machine_provided JOIN machine_agent_heartbeat USING (machine_id)
                 WHERE agent_heartbeat_at > now() - interval '1 minute' ORDER BY 1";
    db.rows(fresh).await.unwrap()
}

/// A program that reads heartbeats.
struct Gateway {
    child: Child,
    input: Option<ChildStdin>,
}

impl Gateway {
    fn start(program: Bmdb, args: &[&str]) -> Self {
        let mut command = program
            .args(["agent", "heartbeat", "-"])
            .args(args)
            .command();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take(),
            child,
        }
    }

    fn send(&mut self, line: &str) {
        let input = self.input.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
    }

    /// Closes its input, and waits for its end.
    fn end(mut self) -> Ran {
        drop(self.input.take());
        self.child.wait_with_output().unwrap().into()
    }
}

#[tokio::test]
async fn heartbeats_of_named_machines_are_written_and_wake_nobody_who_does_not_exist() {
    let db = unassumed().await;
    let a = agent(&db, "a").await.to_string();
    agent(&db, "b").await;
    agent(&db, "c").await;
    let ran = bmdb(&db)
        .args(["agent", "heartbeat", &a[..8], "Equinix/b"])
        .run();
    assert_eq!(ran.stdout, "2 heartbeats written\n");
    assert_eq!(fresh(&db).await, ["a", "b"]);
    bmdb(&db)
        .args(["agent", "heartbeat", "Equinix/z"])
        .fails_with(3, "Equinix has no machine \"z\"");
    bmdb(&db)
        .args(["agent", "heartbeat", "-", &a])
        .fails_with(2, "- stands alone");
    let narrowed = ["agent", "heartbeat", &a, "--provider", "Equinix"];
    bmdb(&db).args(narrowed).fails_with(2, "--provider");
    bmdb(&db)
        .args(["agent", "heartbeat"])
        .fails_with(2, "MACHINE");
}

#[tokio::test]
async fn lines_of_standard_input_are_heartbeats_and_bad_ones_are_reported_by_number() {
    let db = unassumed().await;
    let a = agent(&db, "a").await;
    for id in ["b", "c c", "d"] {
        agent(&db, id).await;
    }
    let nobody = MachineId::random();
    let lines = format!(
        "{a}\nEquinix/b\n\nEquinix/c c\nEquinix/d 2020-11-30T05:34:25Z\nrack 7\nEquinix/z\n{nobody}\nEquinix/z\n"
    );
    let ran = bmdb(&db)
        .args(["agent", "heartbeat", "-", "--json"])
        .stdin(lines)
        .output();
    assert_eq!(ran.code, Some(2), "{ran:?}");
    let summary = json!({"written": 4, "invalid": 1, "unknown": 3, "dropped": 0, "outages": 0});
    assert_eq!(ran.json(), summary);
    for reported in [
        "line 6: expected an id",
        "line 7: there is no machine Equinix/z",
    ] {
        assert!(ran.stderr.contains(reported), "{ran:?}");
    }
    assert!(ran.stderr.contains(&nobody.to_string()), "{ran:?}");
    assert!(!ran.stderr.contains("line 9"), "reported once: {ran:?}");
    assert_eq!(fresh(&db).await, ["a", "b", "c c"]);
    assert_eq!(db.rows("SELECT 1 FROM sessions").await.unwrap(), [""; 0]);

    let ran = bmdb(&db)
        .args(["agent", "heartbeat", "-"])
        .stdin("Equinix/y\n")
        .output();
    assert_eq!(ran.code, Some(3), "{ran:?}");
    assert!(
        ran.stderr
            .contains("1 of 1 heartbeats were not written: 1 of unknown machines")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_lines_are_a_few_statements() {
    let db = unassumed().await;
    db.run_sql(
        "CREATE TEMP TABLE f AS SELECT gen_random_uuid() AS id, i FROM generate_series(1, 10000) i;
         INSERT INTO machines (machine_id) SELECT id FROM f;
         INSERT INTO machine_provided (machine_id, provider, provider_id) SELECT id, 'Equinix', i FROM f;
         INSERT INTO machine_agent_heartbeat SELECT id, now() - interval '1 hour' FROM f",
    )
    .await
    .unwrap();
    let lines: String = (1..=10_000).map(|i| format!("Equinix/{i}\n")).collect();
    let proxy = Proxy::unix(db.url()).await.unwrap();
    let ran = at(proxy.url())
        .args(["agent", "heartbeat", "-", "--json"])
        .stdin(lines)
        .run();
    assert_eq!(ran.json()["written"], 10_000);
    assert_eq!(fresh(&db).await.len(), 10_000);
    assert!(proxy.requests() < 500, "{}", proxy.requests());
}

#[tokio::test]
async fn it_listens_while_its_input_is_open_and_ends_by_a_signal() {
    let db = unassumed().await;
    agent(&db, "a").await;
    let program = Gateway::start(bmdb(&db), &["--provider", "Equinix"]);
    until(&db, LISTENING).await;
    until(
        &db,
        "SELECT 1 FROM agent_listening WHERE heard_at IS NOT NULL",
    )
    .await;
    let listeners = "SELECT provider FROM agent_listener";
    assert_eq!(db.rows(listeners).await.unwrap(), ["Equinix"]);
    let ran = program.end();
    assert_eq!(
        (ran.code, &*ran.stdout),
        (Some(0), "0 heartbeats written\n"),
        "{ran:?}"
    );
    assert_eq!(db.rows(listeners).await.unwrap(), [""; 0]);

    for end in [Signal::SIGINT, Signal::SIGTERM] {
        let mut program = Gateway::start(bmdb(&db), &["--json"]);
        until(&db, LISTENING).await;
        program.send("Equinix/a");
        until(&db, "SELECT 1 FROM machine_agent_heartbeat WHERE agent_heartbeat_at > now() - interval '1 min'").await;
        signal(&program.child, end);
        let ran = Ran::from(program.child.wait_with_output().unwrap());
        assert_eq!(
            (ran.code, ran.json()["written"].as_u64()),
            (Some(0), Some(1)),
            "{ran:?}"
        );
        assert_eq!(db.rows(listeners).await.unwrap(), [""; 0]);
        db.advance(Duration::from_secs(3600)).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_outage_of_the_database_it_goes_on_and_listening_starts_again() {
    let db = unassumed().await;
    agent(&db, "a").await;
    agent(&db, "b").await;
    let proxy = Proxy::unix(db.url()).await.unwrap();
    let mut program = Gateway::start(at(proxy.url()), &[]);
    program.send("Equinix/a");
    until(
        &db,
        "SELECT 1 FROM machine_agent_heartbeat WHERE agent_heartbeat_at > now() - interval '1 min'",
    )
    .await;
    let first: SessionId = db
        .rows("SELECT session_id FROM agent_listener")
        .await
        .unwrap()[0]
        .parse()
        .unwrap();

    proxy.refuse();
    proxy.cut();
    db.advance(Duration::from_secs(660)).await.unwrap();
    db.expire(first).await.unwrap();
    program.send("Equinix/b");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(program.child.try_wait().unwrap().is_none(), "it goes on");
    proxy.heal().unwrap();
    let again = format!("{LISTENING} WHERE session_id <> '{first}'");
    until(&db, &again).await;
    program.send("Equinix/a");
    let ran = program.end();
    assert_eq!(
        (ran.code, &*ran.stdout),
        (Some(0), "3 heartbeats written\n"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("no silence counts; trying again"),
        "{ran:?}"
    );
    assert!(
        ran.stderr.contains("heartbeats are written again, after"),
        "{ran:?}"
    );
    assert_eq!(fresh(&db).await, ["a", "b"]);
    // What a janitor observes now: ten minutes more for all.
    bmdb(&db).args(["janitor", "--once"]).run();
    let due = "SELECT count(*) FROM agent_silence WHERE silent_at < now() + interval '9 minutes'";
    assert_eq!(db.rows(due).await.unwrap(), ["0"]);
}

#[tokio::test]
async fn a_machine_that_is_registered_again_is_found_by_its_name() {
    let db = unassumed().await;
    let old = agent(&db, "a").await;
    let mut program = Gateway::start(bmdb(&db), &[]);
    program.send("Equinix/a");
    until(
        &db,
        "SELECT 1 FROM machine_agent_heartbeat WHERE agent_heartbeat_at > now() - interval '1 min'",
    )
    .await;
    let delete = [
        "machine",
        "delete",
        &old.to_string(),
        "--yes",
        "--reason",
        "moved",
    ];
    bmdb(&db).args(delete).run();
    agent(&db, "a").await;
    program.send("Equinix/a");
    let ran = program.end();
    assert_eq!(
        (ran.code, &*ran.stdout),
        (Some(0), "2 heartbeats written\n"),
        "{ran:?}"
    );
    assert_eq!(fresh(&db).await, ["a"]);
}

#[tokio::test]
async fn listening_shows_each_provider() {
    let db = unassumed().await;
    assert!(
        bmdb(&db)
            .args(["agent", "listening"])
            .run()
            .stdout
            .contains("No machine has a provider")
    );
    agent(&db, "a").await;
    let lumen = db.machine().provided(&Provider::LUMEN, "a");
    lumen.create().await.unwrap();
    bmdb(&db).args(["agent", "heartbeat", "Equinix/a"]).run();
    bmdb(&db).args(["janitor", "--once"]).run();
    let ran = bmdb(&db).args(["agent", "listening", "--json"]).run();
    assert_eq!(
        ran.redacted()["providers"],
        json!([
            {"provider": "Equinix", "agents": 1, "listened": true, "since": "[time]", "heard_at": "[time]",
             "listeners": 0, "assumed": false},
            {"provider": "Lumen", "agents": 0, "listened": false, "since": null, "heard_at": null,
             "listeners": 0, "assumed": false},
        ])
    );
    let shown = bmdb(&db).args(["agent", "list"]).run().stdout;
    assert!(
        shown.contains("listened to") && shown.contains("nobody"),
        "{shown}"
    );
}

#[tokio::test]
async fn why_says_that_nobody_listens() {
    let db = unassumed().await;
    let machine = agent(&db, "a").await.to_string();
    let ran = bmdb(&db).args(["why", &machine, "ShepherdRecovery"]).run();
    assert!(
        ran.stdout
            .contains("listening to the agents of Equinix: no silence counts"),
        "{ran:?}"
    );
    assert!(
        ran.stdout.contains("bmdb process resume ShepherdRecovery"),
        "{ran:?}"
    );
}
