//! The input of a command, and the meaning of its exit codes.

use super::Fixture;
use crate::bmdb::{Ran, bmdb};
use bmdb_model::Provider;
use bmdb_testkit::TestDb;
use serde_json::{Value, json};
use std::time::Duration;

/// The events of a run as one JSON array, without values that differ from run to run.
fn events(ran: &Ran) -> Value {
    let lines: Vec<Value> = ran
        .stdout
        .lines()
        .map(|line| {
            let mut event: Value = serde_json::from_str(line).unwrap();
            if let Some(seconds) = event.get_mut("seconds") {
                assert!(seconds.is_f64(), "{line}");
                *seconds = json!("[seconds]");
            }
            event
        })
        .collect();
    let all = Ran {
        code: ran.code,
        stdout: serde_json::to_string(&lines).unwrap(),
        stderr: ran.stderr.clone(),
    };
    all.redacted()
}

#[tokio::test]
async fn a_command_gets_its_machine_in_the_environment_and_on_standard_input() {
    let s = Fixture::new().await;
    s.db.run_sql("UPDATE machine_provided SET provider_ip_address = '192.0.2.7'")
        .await
        .unwrap();
    s.once("cat > $FOLDER/stdin; env | grep ^BMDB_ | sort > $FOLDER/env")
        .env("BMDB_READ_URL", "postgres://reader:secret@localhost/bmdb")
        .run();
    let id = s.machine;
    let environment = std::fs::read_to_string(s.folder.join("env")).unwrap();
    assert_eq!(
        environment,
        format!(
            "BMDB_ADDRESS=192.0.2.7\nBMDB_ATTEMPT=1\nBMDB_FENCE=1\nBMDB_MACHINE_ID={id}\n\
             BMDB_OPERATOR=tester\nBMDB_PROCESS=ShepherdAgentStart\nBMDB_PROVIDER=Equinix\n\
             BMDB_PROVIDER_ID=a\n"
        ),
        "the database's URLs are removed"
    );
    let input: Value = serde_json::from_str(&s.written("stdin")).unwrap();
    let expected = json!({
        "process": "ShepherdAgentStart", "machine_id": id.to_string(), "provider": "Equinix",
        "provider_id": "a", "address": "192.0.2.7", "location": null, "status": null,
        "fence": 1, "attempt": 1, "previous_interval_seconds": null,
    });
    assert_eq!(input, expected);
    assert_eq!(s.attempts().await, ["Finished||"]);
}

#[tokio::test]
async fn standard_output_is_stored_as_the_key_of_the_agent() {
    let s = Fixture::new().await;
    let key = "--set-agent-started-from-stdout";
    s.once("true").args([key]).run();
    let no_key = "no public key on standard output";
    assert_eq!(s.attempts().await, [format!("Failed|{no_key}|1")]);
    s.db.advance(Duration::from_secs(2)).await.unwrap();
    s.once("echo '  the key '").args([key]).run();
    let keys = "SELECT convert_from(agent_public_key, 'UTF8') FROM machine_agent_started";
    assert_eq!(s.db.rows(keys).await.unwrap(), ["the key"]);
}

#[tokio::test]
async fn a_hold_exit_puts_the_machine_on_hold() {
    let s = Fixture::new().await;
    let run = s.once("echo 'the disk is dead' >&2; exit 78");
    let ran = run.args(["--hold-exit", "77", "--hold-exit", "78"]).run();
    let expected = "put on hold: the disk is dead";
    assert!(ran.stdout.contains(expected), "{}", ran.stdout);
    assert_eq!(s.attempts().await, ["Failed|the disk is dead|1"]);
    let reasons = s.db.rows("SELECT reason FROM machine_hold").await.unwrap();
    assert_eq!(reasons, ["the disk is dead"]);
    for (code, why) in [
        ("0", "0 means success"),
        ("75", "cancels the work"),
        ("79", "snoozes"),
        ("80", "only this process"),
        ("81", "pauses the provider"),
        ("256", "from 1 to 255"),
        ("x", "from 1 to 255"),
    ] {
        s.once("true")
            .args(["--hold-exit", code])
            .fails_with(2, why);
    }
}

#[tokio::test]
async fn exit_codes_snooze_hold_the_process_and_pause_the_provider() {
    let s = Fixture::new().await;
    let ran = s.once("exit 79").args(["--snooze-for", "1h"]).run();
    assert!(ran.stdout.contains("rests for 3600.0 s"), "{}", ran.stdout);
    assert_eq!(s.attempts().await, ["Canceled|snoozed|"]);
    s.db.advance(Duration::from_secs(3601)).await.unwrap();

    let ran = s.once("echo 429 >&2; exit 81").args(["--json"]).run();
    let paused = ran.stdout.lines().find(|l| l.contains("provider_paused"));
    let paused: Value = serde_json::from_str(paused.unwrap()).unwrap();
    assert_eq!(paused["cause"], "429");
    assert_eq!(paused["paused"], "Equinix");
    let pauses = "SELECT provider, source, paused_by, reason FROM process_pause";
    let expected = "Equinix|Attempt|bmdb-run-ShepherdAgentStart|429";
    assert_eq!(s.db.rows(pauses).await.unwrap(), [expected]);
    s.db.advance(Duration::from_secs(301)).await.unwrap();

    let ran = s.once("echo 'no BMC' >&2; exit 80").run();
    let expected = "the process is put on hold there: no BMC";
    assert!(ran.stdout.contains(expected), "{}", ran.stdout);
    let holds = "SELECT hold_reason FROM work_item WHERE process = 'ShepherdAgentStart'";
    assert_eq!(s.db.rows(holds).await.unwrap(), ["no BMC"]);
    let release = ["--process", "ShepherdAgentStart"];
    let machine = s.machine.to_string();
    bmdb(&s.db)
        .args(["machine", "release", &machine])
        .fails_with(4, "is not on hold");
    bmdb(&s.db)
        .args(["machine", "release", &machine])
        .args(release)
        .run();
    bmdb(&s.db)
        .args(["machine", "release", &machine])
        .args(release)
        .fails_with(4, "ShepherdAgentStart is not on hold on machine");
    bmdb(&s.db)
        .args(["machine", "hold", &machine, "--reason", "x"])
        .args(release)
        .run();
    assert_eq!(s.db.rows(holds).await.unwrap(), ["x"]);
}

#[tokio::test]
async fn a_success_without_an_effect_says_that_the_machine_rests() {
    let s = Fixture::new().await;
    let ran = s.once("true").run();
    let expected = "rests, unproductive: finished and still due";
    assert!(ran.stdout.contains(expected), "{}", ran.stdout);
    let ran = s.once("true").run();
    assert!(!ran.stdout.contains("started"), "{}", ran.stdout);
}

#[tokio::test]
async fn a_success_can_unset_tags() {
    let db = TestDb::new().await.unwrap();
    let hour = Duration::from_secs(3600);
    let machine = db.machine().provided(&Provider::EQUINIX, "a");
    let machine = machine.agent_started(hour).agent_heartbeat(hour).planned();
    machine.create().await.unwrap();
    bmdb(&db)
        .args(["run", "--process", "ShepherdRecovery", "--exec", "true"])
        .args(["--on-success-unset", "agent_started"])
        .args(["--on-success-unset", "hold", "--once"])
        .run();
    let left = "SELECT (SELECT count(*) FROM machine_agent_started),
                       (SELECT count(*) FROM machine_agent_heartbeat)";
    assert_eq!(db.rows(left).await.unwrap(), ["0|0"]);
    bmdb(&db)
        .args(["run", "--process", "ShepherdRecovery", "--exec", "true"])
        .args(["--on-success-unset", "agent"])
        .fails_with(2, "the tags are provided, agent_started");
}

#[tokio::test]
async fn a_failure_has_the_last_line_of_standard_error_as_cause() {
    let s = Fixture::new().await;
    let fails = "echo first >&2; printf 'no \\033[31mpower\\033[0m\\n\\n' >&2; exit 3";
    let ran = s.once(fails).run();
    // Colours are for a terminal.
    let cause = "no power";
    assert_eq!(s.attempts().await, [format!("Failed|{cause}|1")]);
    let line = ran.stdout.lines().find(|line| line.starts_with("failed"));
    let line = line.unwrap();
    assert!(line.contains("Equinix/a  fence 1  attempt 1"), "{line}");
    assert!(
        line.ends_with(&format!("backs off for up to 1s: {cause}")),
        "{line}"
    );
}

/// The cause of a failed download was the beginning of its progress, without the error at its end.
#[tokio::test]
async fn the_cause_is_what_a_terminal_would_show_last() {
    let s = Fixture::new().await;
    let progress = "i=0; while [ $i -lt 3000 ]; do printf '\\r%d of 3000' $i; i=$((i+1)); done >&2; \
                    printf '\\r\\033[Kcurl: (56) reset' >&2; exit 1";
    s.once(progress).run();
    assert_eq!(s.attempts().await, ["Failed|curl: (56) reset|1"]);
    s.db.advance(Duration::from_secs(2)).await.unwrap();
    // A process that has left the group keeps standard error open: what it has shown so far counts.
    s.once("setsid sleep 8 & printf '\\r10 %%\\r20 %%' >&2; exit 1")
        .run();
    assert_eq!(s.attempts().await[1], "Failed|20 %|2");
}

#[tokio::test]
async fn the_cause_names_the_signal() {
    let s = Fixture::new().await;
    s.once("kill -SEGV $$").run();
    assert_eq!(s.attempts().await, ["Failed|killed by SIGSEGV|1"]);
}

#[tokio::test]
async fn exit_75_releases_the_machine_at_once_and_it_rests() {
    let s = Fixture::new().await;
    let running = s.start("echo x >> $FOLDER/runs; exit 75", &[]);
    s.written("runs");
    // After many polls it is still one run.
    std::thread::sleep(Duration::from_millis(400));
    running.signal(super::Signal::SIGTERM);
    assert_eq!(running.ended().code, Some(0));
    assert_eq!(s.written("runs"), "x");
    assert_eq!(s.attempts().await, ["Canceled||"]);
    let item = "SELECT session_id, failures, last_interval_seconds,
                       backoff_until - clock_timestamp() BETWEEN interval '5 s' AND interval '11 s'
                FROM work_item";
    assert_eq!(s.db.rows(item).await.unwrap(), ["|0||t"], "it rests");
}

#[tokio::test]
async fn verbose_prints_the_output_of_commands() {
    let s = Fixture::new().await;
    let ran = s.once("echo out; echo err >&2").args(["-v"]).run();
    let id = s.machine.to_string();
    let short = &id[..8];
    for line in [format!("{short}: out\n"), format!("{short}: err\n")] {
        assert!(ran.stderr.contains(&line), "{}", ran.stderr);
    }
    let quiet = s.once("echo err >&2").run();
    assert!(!quiet.stderr.contains("err"), "{}", quiet.stderr);
}

#[tokio::test]
async fn events_have_a_schema() {
    let s = Fixture::new().await;
    let failed = s.once("echo no >&2; exit 1").args(["--json"]).run();
    insta::assert_json_snapshot!("run_failed", events(&failed));
    s.db.advance(Duration::from_secs(2)).await.unwrap();
    let finished = s.once("true").args(["--json"]).run();
    let names: Vec<Value> = events(&finished)
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["event"].clone())
        .collect();
    assert_eq!(names, ["session_started", "started", "finished", "summary"]);
}

#[tokio::test]
async fn a_process_without_a_workflow_is_refused() {
    let s = Fixture::new().await;
    bmdb(&s.db)
        .args(["run", "--process", "Unknown", "--exec", "true"])
        .fails_with(3, "the process Unknown has no workflow");
    s.once(" ").fails_with(2, "the command is empty");
    s.once("true")
        .args(["--rate", "0/s"])
        .fails_with(2, "invalid rate");
    s.once("true")
        .args(["--interval", "250ms"])
        .fails_with(2, "whole seconds");
    s.once("true")
        .args(["--timeout", "0"])
        .fails_with(2, "leave the option out for no limit");
}

#[tokio::test]
async fn a_key_of_4_kib_on_standard_output_is_stored_and_a_longer_one_than_the_limit_fails() {
    let s = Fixture::new().await;
    let key = "--set-agent-started-from-stdout";
    s.once("head -c 70000 /dev/zero | tr '\\0' x")
        .args([key])
        .run();
    let too_long = "standard output is longer than a public key: 65536 bytes";
    assert_eq!(s.attempts().await, [format!("Failed|{too_long}|1")]);
    s.db.advance(Duration::from_secs(2)).await.unwrap();
    s.once("head -c 4096 /dev/urandom | sed 's/^[[:space:]]*/k/'")
        .args([key])
        .run();
    let keys = "SELECT octet_length(agent_public_key) > 4000 FROM machine_agent_started";
    assert_eq!(s.db.rows(keys).await.unwrap(), ["t"]);
}

/// `PGCLIENTENCODING` decides what psql sends. bmdb speaks UTF-8.
#[tokio::test]
async fn a_cause_is_recorded_whatever_the_environments_encoding_is() {
    let s = Fixture::new().await;
    let run = s.once("echo 'no route a → b' >&2; exit 1");
    run.env("PGCLIENTENCODING", "LATIN1")
        .env("LC_ALL", "C")
        .run();
    assert_eq!(s.attempts().await, ["Failed|no route a → b|1"]);
}
