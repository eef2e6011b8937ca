//! Behaviour of all commands: colours, pipes, the log filter, Ctrl-C and `--watch`.

use crate::bmdb::{bmdb, locked, nowhere, signal, until};
use bmdb_testkit::TestDb;
use nix::sys::signal::Signal;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::Arc;

#[tokio::test]
async fn a_pipe_gets_colours_only_on_request() {
    let db = TestDb::new().await.unwrap();
    let status = || bmdb(&db).args(["migrate", "status"]);
    assert!(!status().run().stdout.contains('\u{1b}'));
    assert!(
        !status()
            .env("NO_COLOR", "1")
            .run()
            .stdout
            .contains('\u{1b}')
    );
    assert!(
        status()
            .env("CLICOLOR_FORCE", "1")
            .run()
            .stdout
            .contains('\u{1b}')
    );
    assert!(
        status()
            .args(["--color=always"])
            .run()
            .stdout
            .contains("\u{1b}[")
    );
    let never = status()
        .env("CLICOLOR_FORCE", "1")
        .args(["--color", "never"]);
    assert!(!never.run().stdout.contains('\u{1b}'));
    let help = nowhere().args(["--color=always", "--help"]).run().stdout;
    assert!(help.contains('\u{1b}'), "{help}");
}

#[tokio::test]
async fn a_closed_pipe_ends_a_command_with_success() {
    let db = TestDb::new().await.unwrap();
    let mut command = bmdb(&db).args(["stats", "--watch=1"]).command();
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut first)
        .unwrap();
    assert_eq!(first, "machines          0\n");
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(0));
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
}

#[tokio::test]
async fn ctrl_c_ends_a_command_with_130_and_leaves_no_session_behind() {
    let db = Arc::new(TestDb::new().await.unwrap());
    let holder = locked(&db, "machines").await;
    let session = "SELECT 1 FROM sessions";
    let mut command = bmdb(&db).args(["machine", "create"]).command();
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    until(&db, session).await;
    signal(&child, Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(db.rows(session).await.unwrap(), [""; 0]);
    holder.abort();
}

#[tokio::test]
async fn watch_prints_one_object_a_line_and_ctrl_c_ends_it_with_success() {
    let db = TestDb::new().await.unwrap();
    let mut command = bmdb(&db).args(["stats", "--json", "--watch=1s"]).command();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next().unwrap().unwrap();
        let answer: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["fleet"]["machines"], 0);
    }
    signal(&child, Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn an_invalid_log_filter_is_reported() {
    let db = TestDb::new().await.unwrap();
    let ran = bmdb(&db).args(["stats"]).env("RUST_LOG", "bmdb=loud").run();
    assert!(
        ran.stderr.contains("WARN ignoring invalid RUST_LOG: "),
        "{}",
        ran.stderr
    );
}
