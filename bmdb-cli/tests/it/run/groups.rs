//! Process groups get SIGTERM, then SIGKILL, and never outlive the attempt.

use super::{Fixture, dies, living};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// A shell that ignores SIGTERM, with a child. It writes the group's number to a file.
const STUBBORN: &str = "trap '' TERM; sleep 1000 & echo $$ > $FOLDER/group; wait; sleep 1000";

#[tokio::test]
async fn a_timeout_kills_the_command_and_its_children() {
    let s = Fixture::new().await;
    let limits = ["--timeout", "300ms", "--grace", "50ms"];
    s.once(STUBBORN).args(limits).run();
    let group = s.written("group");
    assert_eq!(s.attempts().await, ["Failed|timed out after 300ms|1"]);
    dies(&group);
}

#[tokio::test]
async fn a_command_can_clean_up_after_sigterm() {
    let s = Fixture::new().await;
    let clean = "trap 'echo clean > $FOLDER/end; exit 0' TERM; sleep 1000 & wait";
    let began = Instant::now();
    let limits = ["--timeout", "300ms", "--grace", "1h"];
    s.once(clean).args(limits).run();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(s.written("end"), "clean");
    // An exit code after the timeout does not count.
    assert_eq!(s.attempts().await, ["Failed|timed out after 300ms|1"]);
}

/// The shell has no trap and exits at once; its child still gets the grace period.
#[tokio::test]
async fn a_child_can_clean_up_after_its_shell_has_exited() {
    let s = Fixture::new().await;
    let child = "trap 'sleep 0.3; echo clean > $FOLDER/end; exit 0' TERM; \
                 while :; do sleep 0.01; done";
    std::fs::write(s.folder.join("child"), child).unwrap();
    let began = Instant::now();
    // `true` keeps the shell from replacing itself with its child.
    s.once("echo $$ > $FOLDER/group; sh $FOLDER/child; true")
        .args(["--timeout", "1s", "--grace", "5s"])
        .run();
    // The file exists when the program exits, and the program does not wait longer than needed.
    assert!(s.folder.join("end").exists());
    assert_eq!(s.written("end"), "clean");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(s.attempts().await, ["Failed|timed out after 1s|1"]);
    dies(&s.written("group"));
}

#[tokio::test]
async fn processes_that_a_command_leaves_running_are_killed() {
    let s = Fixture::new().await;
    s.once("echo $$ > $FOLDER/group; sleep 1000 & exit 0").run();
    dies(&s.written("group"));
    assert_eq!(s.attempts().await, ["Finished||"]);
}

#[tokio::test]
async fn a_lost_lease_kills_the_group() {
    let s = Fixture::new().await;
    let lease = ["--interval", "1s", "--grace", "50ms"];
    let running = s.start(STUBBORN, &lease);
    let group = s.written("group");
    assert!(living(&group) > 0);
    let session = "SELECT session_id FROM work";
    let session = s.db.rows(session).await.unwrap().remove(0);
    s.db.expire(session.parse().unwrap()).await.unwrap();
    dies(&group);
    running.signal(Signal::SIGTERM);
    let ran = running.ended();
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.stdout.contains("is lost; starting another"),
        "{}",
        ran.stdout
    );
    // A janitor may or may not have recorded the expired attempt yet.
    let ends = s.attempts().await;
    assert!(!ends.iter().any(|end| end.starts_with("F")), "{ends:?}");
}

#[tokio::test]
async fn sigterm_lets_a_running_command_finish() {
    let s = Fixture::new().await;
    let gate = "echo x > $FOLDER/begun; until test -e $FOLDER/gate; do sleep 0.01; done";
    let running = s.start(gate, &[]);
    s.written("begun");
    running.signal(Signal::SIGTERM);
    std::thread::sleep(Duration::from_millis(50));
    std::fs::write(s.folder.join("gate"), "").unwrap();
    assert_eq!(running.ended().code, Some(0));
    assert_eq!(s.attempts().await, ["Finished||"]);
}

#[tokio::test]
async fn commands_are_stopped_and_canceled_after_the_drain_timeout_or_a_second_signal() {
    for again in [false, true] {
        let s = Fixture::new().await;
        let limit = if again { "1h" } else { "0" };
        let running = s.start(STUBBORN, &["--drain-timeout", limit, "--grace", "50ms"]);
        let group = s.written("group");
        running.signal(Signal::SIGINT);
        if again {
            std::thread::sleep(Duration::from_millis(100));
            assert!(living(&group) > 0, "the command may still finish");
            running.signal(Signal::SIGINT);
        }
        assert_eq!(running.ended().code, Some(0));
        dies(&group);
        assert_eq!(
            s.attempts().await,
            ["Canceled||"],
            "a second signal: {again}"
        );
    }
}

/// The loop does not wait for a daemon that has left the group and keeps standard error open.
#[tokio::test]
async fn a_daemon_that_keeps_standard_error_open_does_not_block_the_loop() {
    let s = Fixture::new().await;
    let began = Instant::now();
    s.once("setsid sleep 8 & echo done >&2; exit 1").run();
    assert!(began.elapsed() < Duration::from_secs(7));
    assert_eq!(s.attempts().await, ["Failed|done|1"]);
}
