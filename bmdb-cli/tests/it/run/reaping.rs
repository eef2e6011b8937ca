//! Processes that the program inherits are reaped, and its own exit statuses are not stolen.

use super::Fixture;
use crate::bmdb::{bmdb, due_machine, until};
use crate::process_1::{Process1, SOON};
use nix::sys::signal::Signal;
use std::io::BufRead;
use std::process::Command;
use std::time::{Duration, Instant};

/// Waits until it has this many children.
fn has_children(running: &Process1, count: usize) {
    let deadline = Instant::now() + SOON;
    while running.children() != count {
        let zombies = running.zombies();
        assert!(
            Instant::now() < deadline,
            "{} children, {zombies} zombies",
            running.children()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// As process 1 of a container the program had 24 zombies after 12 commands. Reaping any child would have
/// taken exit statuses that belong to commands.
#[tokio::test]
async fn as_process_1_it_reaps_orphans_and_still_sees_how_commands_exit() {
    let s = Fixture::new().await;
    for n in 0..11 {
        due_machine(&s.db, &n.to_string()).await;
    }
    // One orphan exits at once, one later, and their parents before them.
    let exec = "setsid sh -c 'sleep 0.2 &' & setsid sh -c 'true &' & \
                case $BMDB_PROVIDER_ID in a) exit 0;; *) echo \"code $BMDB_PROVIDER_ID\" >&2; exit 3;; esac";
    let command = s.bmdb(exec).command();
    let running = Process1::start(&command);
    until(
        &s.db,
        "SELECT 1 FROM work_attempt HAVING count(DISTINCT machine_id) = 12",
    )
    .await;
    has_children(&running, 0);
    let mut expected: Vec<String> = (0..11).map(|n| format!("Failed|code {n}")).collect();
    expected.push("Finished|".to_owned());
    let attempts = "SELECT DISTINCT outcome, cause FROM work_attempt";
    let mut attempts = s.db.rows(attempts).await.unwrap();
    attempts.sort();
    expected.sort();
    assert_eq!(attempts, expected);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ended("run").status.code(), Some(0));
}

/// A shell that starts something and then becomes the program leaves its children to it.
#[tokio::test]
async fn children_from_before_the_start_are_reaped_whatever_the_command_is() {
    let s = Fixture::new().await;
    let inner = bmdb(&s.db)
        .args(["serve", "--listen", "127.0.0.1:0", "--json"])
        .command();
    let mut command = Command::new("sh");
    command.args(["-c", "true & sleep 0.3 & exec \"$@\"", "sh"]);
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        if let Some(value) = value {
            command.env(name, value);
        }
    }
    let mut running = Process1::start(&command);
    let stdout = running.outer().stdout.as_mut().unwrap();
    std::io::BufReader::new(stdout)
        .read_line(&mut String::new())
        .unwrap();
    has_children(&running, 0);
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ended("serve").status.code(), Some(0));
}
