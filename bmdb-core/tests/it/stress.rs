//! Everything at once, in several processes, under faults; then judges that share no code with what
//! they judge read what is left of it: the database, and what each worker noted as done.
//!
//! `cargo xtask test --stress 60` runs it for longer, with its controls. Each process of the stress
//! is this test binary again: a test that finds its part in its environment plays it.

mod dice;
mod ending;
mod faults;
mod fleet;
mod journal;
mod judge;
mod legal;
mod part;
mod processes;
mod side;
mod summary;
mod traffic;
mod worker;

use bmdb_testkit::TestDb;
use dice::Dice;
use part::{Part, Plan};
use processes::Processes;
use std::time::Duration;
use summary::Summary;
use tokio::time::Instant;

/// The test that plays a part of the stress where it is given one.
const PLAYER: &str = "stress::sixteen_workers_in_four_processes_never_break_a_rule";

/// For how long a control runs.
const CONTROL: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_workers_in_four_processes_never_break_a_rule() {
    if let Some(part) = Part::from_env() {
        return part.play().await;
    }
    let summary = stress(&Plan::from_env(), "").await;
    summary.print();
    assert!(summary.is_clean(), "the stress found violations or errors");
    // Otherwise the run has shown nothing.
    let unseen = summary.unseen();
    assert!(unseen.is_empty(), "it has never happened: {unseen:?}");
    summary.remove_journals();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a control of the stress: cargo xtask test --stress runs it"]
async fn without_the_lane_index_the_stress_finds_two_holders_of_a_lane() {
    check_control("DROP INDEX work_item_lane", "both in lane shepherd").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a control of the stress: cargo xtask test --stress runs it"]
async fn without_rearming_the_stress_finds_recoveries_of_healthy_machines() {
    check_control(
        "UPDATE process_def SET time_driven = false",
        "although it had been heard from",
    )
    .await;
}

async fn check_control(sabotage: &str, expected: &str) {
    let plan = Plan {
        time: CONTROL,
        ..Plan::from_env()
    };
    let summary = stress(&plan, sabotage).await;
    summary.print_verdict(2);
    let found = summary.findings().any(|finding| finding.contains(expected));
    assert!(found, "the judges see nothing of {sabotage:?}");
    summary.remove_journals();
}

/// A run on a database of its own, which is kept if the judges find something.
async fn stress(plan: &Plan, sabotage: &str) -> Summary {
    let db = fleet::new(sabotage).await;
    let until = Instant::now() + plan.time;
    let mut processes = Processes::new(plan, &db, PLAYER, until);
    for _ in 0..fleet::PROCESSES {
        processes.start();
    }
    let backends_killed = tokio::join!(
        faults::kill_backends(&db, Dice::new(plan.seed, u32::MAX), until),
        faults::kill_processes(&mut processes, Dice::new(plan.seed, u32::MAX - 1), until),
    )
    .0;
    let outcome = processes.wait().await;
    fleet::come_to_rest(&db).await;
    judge::judge(plan, &db, outcome, backends_killed).await
}

/// What a judge reads by SQL.
async fn rows(db: &TestDb, sql: &str) -> Vec<String> {
    db.rows(sql).await.unwrap()
}
