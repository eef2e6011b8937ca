//! The faults that come from outside: connections and whole processes that are killed.

use super::dice::Dice;
use super::legal::VICTIM;
use super::processes::Processes;
use bmdb_testkit::TestDb;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until};

/// Between two kills of connections.
const PAUSE: Duration = Duration::from_millis(350);

/// Between two kills of processes, and before the first one.
const SPELL: Duration = Duration::from_secs(10);

/// Terminates a connection of some process now and then, one that is at work if there is one; says
/// how many.
pub(super) async fn kill_backends(db: &TestDb, mut dice: Dice, until: Instant) -> usize {
    let mut killed = 0;
    sleep(PAUSE).await;
    while Instant::now() < until {
        let victims = format!(
            "SELECT pid FROM pg_stat_activity
             WHERE datname = current_database() AND application_name = '{VICTIM}'
             ORDER BY {} pid",
            // Half of them at random, or the idle ones, which are the most, would be hit most.
            ["state = 'idle',", ""][dice.roll(2) as usize]
        );
        let victims = db.rows(&victims).await.unwrap();
        let share = victims.len().div_ceil(4);
        if share > 0 {
            let kill = format!(
                "SELECT pg_terminate_backend({})",
                dice.pick(&victims[..share])
            );
            killed += db
                .rows(&kill)
                .await
                .unwrap()
                .iter()
                .filter(|k| *k == "t")
                .count();
        }
        sleep(PAUSE).await;
    }
    killed
}

/// Kills a process in the middle of what it does, as `kill -9` does, and starts another one.
pub(super) async fn kill_processes(processes: &mut Processes<'_>, mut dice: Dice, until: Instant) {
    let whole = until - Instant::now();
    let spell = SPELL.min(whole / 2);
    let mut at = Instant::now() + spell;
    while at < until {
        sleep_until(at).await;
        processes.kill_one(&mut dice).await;
        processes.start();
        at += spell;
    }
}
