//! Process groups: told to end, killed, and never left behind.

use super::{Stage, dies, living};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// A shell that does not heed SIGTERM, with a child of its own; the group's number is in a file.
const STUBBORN: &str = "trap '' TERM; sleep 1000 & echo $$ > $FOLDER/group; wait; sleep 1000";

#[tokio::test]
async fn a_command_that_takes_too_long_is_killed_with_all_it_has_started() {
    let s = Stage::new().await;
    let limits = ["--timeout", "300ms", "--grace", "50ms"];
    s.once(STUBBORN).args(limits).run();
    let group = s.written("group");
    assert_eq!(s.attempts().await, ["Failed|timed out after 300ms|1"]);
    dies(&group);
}

#[tokio::test]
async fn a_command_that_heeds_sigterm_may_clean_up() {
    let s = Stage::new().await;
    let clean = "trap 'echo clean > $FOLDER/end; exit 0' TERM; sleep 1000 & wait";
    let began = Instant::now();
    let limits = ["--timeout", "300ms", "--grace", "1h"];
    s.once(clean).args(limits).run();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(s.written("end"), "clean");
    // Its exit code came too late.
    assert_eq!(s.attempts().await, ["Failed|timed out after 300ms|1"]);
}

/// The shell has no trap and ends at once; the grace is its child's too.
#[tokio::test]
async fn what_a_command_runs_may_clean_up_after_its_shell_has_ended() {
    let s = Stage::new().await;
    let child = "trap 'sleep 0.3; echo clean > $FOLDER/end; exit 0' TERM; \
                 while :; do sleep 0.01; done";
    std::fs::write(s.folder.join("child"), child).unwrap();
    let began = Instant::now();
    // What follows keeps the shell from becoming its child.
    s.once("echo $$ > $FOLDER/group; sh $FOLDER/child; true")
        .args(["--timeout", "1s", "--grace", "5s"])
        .run();
    // It has been there by the time that the program ends, and nothing waits longer than it takes.
    assert!(s.folder.join("end").exists());
    assert_eq!(s.written("end"), "clean");
    assert!(began.elapsed() < Duration::from_secs(5));
    assert_eq!(s.attempts().await, ["Failed|timed out after 1s|1"]);
    dies(&s.written("group"));
}

#[tokio::test]
async fn what_a_command_leaves_running_is_killed_when_it_has_ended() {
    let s = Stage::new().await;
    s.once("echo $$ > $FOLDER/group; sleep 1000 & exit 0").run();
    dies(&s.written("group"));
    assert_eq!(s.attempts().await, ["Finished||"]);
}

#[tokio::test]
async fn a_lost_lease_kills_the_group() {
    let s = Stage::new().await;
    let lease = ["--interval", "1s", "--grace", "50ms"];
    let running = s.start(STUBBORN, &lease);
    let group = s.written("group");
    assert!(living(&group) > 0);
    let holder = "SELECT session_id FROM work";
    let holder = s.db.rows(holder).await.unwrap().remove(0);
    s.db.expire(holder.parse().unwrap()).await.unwrap();
    dies(&group);
    running.signal(Signal::SIGTERM);
    let ran = running.ended();
    assert_eq!(ran.code, Some(0));
    assert!(
        ran.stdout.contains("is lost; starting another"),
        "{}",
        ran.stdout
    );
    // Of which its janitor or another's tells in time; nobody here has.
    let ends = s.attempts().await;
    assert!(!ends.iter().any(|end| end.starts_with("F")), "{ends:?}");
}

#[tokio::test]
async fn sigterm_lets_a_command_end() {
    let s = Stage::new().await;
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
async fn after_the_drain_timeout_and_at_a_second_signal_commands_are_ended_and_machines_given_back()
{
    for again in [false, true] {
        let s = Stage::new().await;
        let limit = if again { "1h" } else { "0" };
        let running = s.start(STUBBORN, &["--drain-timeout", limit, "--grace", "50ms"]);
        let group = s.written("group");
        running.signal(Signal::SIGINT);
        if again {
            std::thread::sleep(Duration::from_millis(100));
            assert!(living(&group) > 0, "it is waited for");
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

/// A daemon that has left the group keeps standard error open, and is not waited for.
#[tokio::test]
async fn a_daemon_that_keeps_standard_error_does_not_keep_the_loop() {
    let s = Stage::new().await;
    let began = Instant::now();
    s.once("setsid sleep 8 & echo done >&2; exit 1").run();
    assert!(began.elapsed() < Duration::from_secs(7));
    assert_eq!(s.attempts().await, ["Failed|done|1"]);
}
