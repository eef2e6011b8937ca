//! Limits, breakers and pauses of processes by command.

use crate::bmdb::{as_owner, bmdb, due_machine};
use bmdb_model::Process;
use bmdb_model::internal::work;
use bmdb_testkit::TestDb;
use serde_json::json;
use std::time::Duration;

const START: &str = "ShepherdAgentStart";

async fn records(db: &TestDb) -> Vec<String> {
    let records = "SELECT concat_ws('|', verb, process, operator, reason) FROM operator_action ORDER BY action_id";
    db.rows(records).await.unwrap()
}

#[tokio::test]
async fn the_shipped_limits_are_listed_and_shown() {
    let db = TestDb::new().await.unwrap();
    due_machine(&db, "a").await;
    let list = bmdb(&db).args(["process", "list"]).run();
    let recovery = list
        .stdout
        .lines()
        .find(|line| line.contains("ShepherdRecovery"));
    let words: Vec<&str> = recovery.unwrap().split_whitespace().collect();
    let expected = "ShepherdRecovery shepherd on 0/5 (Equinix) 0/10 in 10m (Equinix) armed -";
    assert_eq!(words.join(" "), expected);
    let shown = bmdb(&db)
        .args(["process", "show", "ShepherdRecovery"])
        .run();
    for words in [
        "Limit per provider: 5 running, 10 starts/10m",
        "Breaker per provider: 5% and 5 due, 20 failures/10m",
        "Equinix  0/5      0/10",
    ] {
        assert!(shown.stdout.contains(words), "{words}: {}", shown.stdout);
    }
    let json = bmdb(&db)
        .args(["process", "show", "ShepherdRecovery", "--json"])
        .run()
        .json();
    assert_eq!(
        json["limits"][0]["partitions"][0]["running"]["maximum"],
        json!(5)
    );
    assert_eq!(json["breakers"][0]["max_due_percent"], json!("5"));
    bmdb(&db)
        .args(["process", "show", "Typo"])
        .fails_with(3, "there is no process Typo");
}

#[tokio::test]
async fn a_limit_keeps_what_is_left_out_and_is_removed() {
    let db = TestDb::new().await.unwrap();
    let limit = |args: &[&str]| {
        let all = bmdb(&db).args(["process", "limit", START, "--as", "ann"]);
        all.args(args).run().stdout
    };
    assert_eq!(
        limit(&["--max-running", "5", "--max-starts", "10/10m"]),
        "ShepherdAgentStart per process: 5 running, 10 starts/10m (before: no limit)\n"
    );
    assert_eq!(
        limit(&["--max-running", "1"]),
        "ShepherdAgentStart per process: 1 running, 10 starts/10m (before: 5 running, 10 starts/10m)\n"
    );
    assert_eq!(
        limit(&["--max-starts", "none"]),
        "ShepherdAgentStart per process: 1 running (before: 1 running, 10 starts/10m)\n"
    );
    assert_eq!(
        limit(&["--remove", "--reason", "enough"]),
        "ShepherdAgentStart per process: no limit (before: 1 running)\n"
    );
    assert_eq!(
        records(&db).await[3],
        "RemoveLimit|ShepherdAgentStart|ann|enough"
    );
}

#[tokio::test]
async fn wrong_limits_and_breakers_are_refused_with_what_to_do() {
    let db = TestDb::new().await.unwrap();
    let limit = |args: &[&str], code, words: &str| {
        bmdb(&db)
            .args(["process", "limit"])
            .args(args)
            .fails_with(code, words);
    };
    limit(&[START], 2, "--max-running");
    limit(
        &[START, "--max-running", "0"],
        2,
        "must be between 1 and 10000, and not 0; to stop a process, pause it",
    );
    limit(&[START, "--max-running", "-3"], 2, "and not -3");
    limit(&[START, "--max-running", "10001"], 2, "and not 10001");
    limit(
        &[START, "--max-running", "99999999999999999999"],
        2,
        "whole number of machines",
    );
    limit(&[START, "--max-starts", "5"], 2, "such as 10/10m");
    limit(
        &[START, "--max-starts", "5/0"],
        2,
        "between 1 second and 31 days (2678400 s), and not 0 s",
    );
    limit(&[START, "--max-starts", "5/32d"], 2, "and not 2764800 s");
    limit(&[START, "--max-starts", "5/-1m"], 2, "such as 10/10m");
    limit(
        &[START, "--max-running", "none"],
        2,
        "a limit needs a maximum",
    );
    limit(
        &[START, "--max-running", "5", "--per", "label"],
        2,
        "expected one of process, provider",
    );
    limit(
        &[START, "--max-running", "5", "--remove"],
        2,
        "cannot be used with",
    );
    limit(
        &["Typo", "--max-running", "5"],
        3,
        "there is no process Typo: the processes are ShepherdAccess",
    );
    limit(&[START, "--remove"], 3, "has no limit per process");

    let breaker = |args: &[&str], code, words: &str| {
        bmdb(&db)
            .args(["process", "breaker"])
            .args(args)
            .fails_with(code, words);
    };
    breaker(&[START], 2, "--due");
    breaker(&[START, "--due", "101%"], 2, "at most 100 percent");
    breaker(&[START, "--due", "0%"], 2, "more than 0");
    breaker(&[START, "--due", "-5"], 2, "and not -5");
    breaker(
        &[START, "--due", "five"],
        2,
        "a share of the machines such as 5%",
    );
    breaker(&[START, "--due-at-least", "5"], 2, "give the share too");
    breaker(
        &[START, "--failures", "0/10m"],
        2,
        "the number of failures must be between 1 and 1000, and not 0",
    );
    breaker(&[START, "--failures", "5/0s"], 2, "and not 0 s");
    breaker(
        &[START, "--resume-after", "1h"],
        2,
        "a breaker needs a threshold",
    );
    breaker(
        &["ShepherdAccess", "--due", "5%"],
        2,
        "it has no workflow, so nobody knows how many",
    );
    breaker(&["Typo", "--due", "5%"], 3, "there is no process Typo");
    breaker(&[START, "--remove"], 3, "has no breaker per process");
    assert!(records(&db).await.is_empty());
}

#[tokio::test]
async fn a_breaker_keeps_what_is_left_out() {
    let db = TestDb::new().await.unwrap();
    let breaker = |args: &[&str]| {
        let all = bmdb(&db).args(["process", "breaker", START]).args(args);
        all.run().stdout
    };
    assert_eq!(
        breaker(&[
            "--due",
            "200",
            "--failures",
            "50/10m",
            "--resume-after",
            "1h"
        ]),
        "ShepherdAgentStart per process: 200 due, 50 failures/10m, resumes after 1h (before: no breaker)\n"
    );
    let share = breaker(&["--due", "5%"]);
    assert!(
        share.contains(": 5% due, 50 failures/10m, resumes after 1h (before: 200 due"),
        "{share}"
    );
    let floor = breaker(&[
        "--due-at-least",
        "5",
        "--failures",
        "none",
        "--resume-after",
        "none",
    ]);
    assert!(floor.contains(": 5% and 5 due (before:"), "{floor}");
}

#[tokio::test]
async fn a_process_is_paused_and_resumed_with_dry_runs_before() {
    let db = TestDb::new().await.unwrap();
    let machine = due_machine(&db, "a").await;
    let session = db.session(Duration::from_secs(3600)).await.unwrap();
    let mut conn = db.connect().await.unwrap();
    work::claim_machine(&mut conn, machine, &Process::SHEPHERD_AGENT_START, session)
        .await
        .unwrap();
    let pause = |args: &[&str]| {
        let all = bmdb(&db).args(["process", "pause", START, "--as", "ann"]);
        all.args(args)
    };
    pause(&[]).fails_with(2, "--reason");
    let why = ["--reason", "a switch\nis replaced"];
    pause(&["--stop-running"])
        .args(why)
        .fails_with(2, "Pause ShepherdAgentStart and stop it on 1 machines");
    let tried = pause(&["--stop-running", "--dry-run"])
        .args(why)
        .run()
        .stdout;
    assert_eq!(
        tried,
        "ShepherdAgentStart would be paused\nWhat runs on 1 machine would be stopped.\n"
    );
    assert!(records(&db).await.is_empty());
    let paused = pause(&["--provider", "Equinix"]).args(why).run().stdout;
    assert_eq!(
        paused,
        "ShepherdAgentStart is paused: machines of Equinix, by ann until resumed: a switch is replaced\n\
         What runs on 1 machine goes on.\n"
    );
    let again = pause(&[
        "--provider",
        "Equinix",
        "--for",
        "2h",
        "--stop-running",
        "--yes",
    ]);
    let again = again.args(why).run().stdout;
    assert!(again.contains("stopping what runs: a switch is replaced\nbefore: machines of Equinix, by ann until resumed"), "{again}");

    let list = bmdb(&db).args(["process", "list"]).run().stdout;
    let line = list.lines().find(|line| line.contains(START)).unwrap();
    assert!(line.ends_with("Equinix"), "{line}");
    let resume = |args: &[&str]| bmdb(&db).args(["process", "resume", START]).args(args);
    resume(&["--provider", "fra1"]).fails_with(4, "is not paused for fra1");
    let tried = resume(&["--dry-run"]).run().stdout;
    assert!(
        tried.starts_with("ShepherdAgentStart: this pause would end: machines of Equinix"),
        "{tried}"
    );
    let resumed = resume(&["--reason", "done"]).run().stdout;
    assert!(
        resumed.starts_with("ShepherdAgentStart: resumed, paused before: machines of Equinix"),
        "{resumed}"
    );
    resume(&[]).fails_with(4, "ShepherdAgentStart is not paused");
    assert_eq!(records(&db).await.len(), 3);
}

#[tokio::test]
async fn wrong_pauses_are_refused_with_what_to_do() {
    let db = TestDb::new().await.unwrap();
    due_machine(&db, "a").await;
    let pause = |args: &[&str], code, words: &str| {
        let all = bmdb(&db).args(["process", "pause"]).args(args);
        all.args(["--reason", "x"]).fails_with(code, words);
    };
    pause(&["Typo"], 3, "there is no process Typo");
    pause(
        &[START, "--provider", "fra1"],
        2,
        "no machine has the provider fra1: the providers are Equinix",
    );
    pause(&[START, "--for", "0"], 2, "expected more than 0");
    pause(
        &[START, "--for", "367d"],
        2,
        "between 1 millisecond and 366 days",
    );
    pause(
        &[START, "--until", "2020-01-01T00:00:00Z"],
        2,
        "has passed already",
    );
    pause(
        &[START, "--until", "tomorrow"],
        2,
        "such as 2026-11-22T05:34:25Z",
    );
    pause(
        &[START, "--for", "1h", "--until", "2099-01-01T00:00:00Z"],
        2,
        "cannot be used with",
    );
    let blank = ["process", "pause", START, "--reason", " \n "];
    bmdb(&db)
        .args(blank)
        .fails_with(2, "reason must not be empty");
    assert!(records(&db).await.is_empty());
}

#[tokio::test]
async fn a_process_is_switched_off_and_on_by_the_owner() {
    let db = TestDb::new().await.unwrap();
    due_machine(&db, "a").await;
    let process = |args: &[&str]| as_owner(&db).args(["process"]).args(args);
    process(&["off", START]).fails_with(
        2,
        "Switch ShepherdAgentStart off, which 1 machines need now",
    );
    let tried = process(&["off", START, "--dry-run"]).run().stdout;
    assert_eq!(
        tried,
        "ShepherdAgentStart would be off\nIts workflow lists 1 machines, of which 1 need it now.\n"
    );
    let off = process(&["off", START, "--yes"]).run().stdout;
    assert!(
        off.starts_with("ShepherdAgentStart is off; replanned 1 machines"),
        "{off}"
    );
    process(&["off", START, "--yes"]).fails_with(4, "is switched off already");
    let due = "SELECT count(*) FROM work_item WHERE eligible";
    assert_eq!(db.rows(due).await.unwrap(), ["0"]);
    let shown = process(&["show", START]).run().stdout;
    assert!(shown.contains("workflow_agent_start (off)"), "{shown}");
    assert!(
        process(&["on", START])
            .run()
            .stdout
            .starts_with("ShepherdAgentStart is on")
    );
    process(&["on", START]).fails_with(4, "is not switched off");
    assert_eq!(db.rows(due).await.unwrap(), ["1"]);
    process(&["off", "ShepherdAccess", "--yes"]).fails_with(2, "nothing to switch off");
    process(&["off", "Typo", "--yes"]).fails_with(3, "there is no process Typo");
}
