//! Futures that are dropped at every await: no lock and no claim stays behind.

mod environment;
mod listed;
mod operations;
mod tags;

use crate::scenario::{RETRY, Scenario, work_on};
use crate::wait::until;
use bmdb_core::{Claim, Work};
use bmdb_model::{AgentStarted, MachineId, Process, TagWrites};
use bmdb_testkit::TestDb;
use environment::{MANY, QUIESCED, START, polled};

const ACCESS: Process = Process::SHEPHERD_ACCESS;

async fn quiesced(db: &TestDb) {
    until(db, QUIESCED).await;
}

#[tokio::test]
async fn a_dropped_claim_leaves_no_lock_and_no_claim() {
    let s = Scenario::new().await;
    s.provided("1").await;
    // The first claim looks up the process; all later claims take the same polls.
    for work in s.session.claim(&Claim::of(&START)).await.unwrap() {
        work.cancel().await.unwrap();
    }
    for polls in 0..MANY {
        let claimed = polled(polls, s.session.claim(&Claim::of(&START))).await;
        let complete = claimed.is_some();
        drop(claimed);
        quiesced(&s.db).await;
        if complete {
            return;
        }
    }
    panic!("a claim was never completed");
}

#[tokio::test]
async fn a_dropped_retrieval_leaves_no_lock_and_no_claim() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    for polls in 0..MANY {
        let work = polled(polls, work_on(&s.session, &ACCESS, machine)).await;
        let complete = work.is_some();
        drop(work);
        quiesced(&s.db).await;
        if complete {
            return;
        }
    }
    panic!("work was never started");
}

#[tokio::test]
async fn a_dropped_transaction_leaves_no_lock() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    for polls in 0..MANY {
        let written = s.session.transact(async |tx| {
            tx.set_agent_started(machine, &AgentStarted::now(b"key"))
                .await
        });
        let complete = polled(polls, written).await.is_some();
        quiesced(&s.db).await;
        s.db.run_sql("SELECT FROM machines FOR UPDATE NOWAIT")
            .await
            .unwrap();
        if complete {
            return;
        }
    }
    panic!("the transaction was never completed");
}

/// Ends work on one machine repeatedly, each time dropped one poll later, until it completes. Each time
/// the attempt ends exactly once, and with a tag only if it has finished.
async fn check_dropped_end(end: impl AsyncFn(Work, usize) -> bool) {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    for polls in 0..MANY {
        let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
        let fence = work.fence();
        let complete = end(work, polls).await;
        quiesced(&s.db).await;
        let attempt = format!(
            "SELECT outcome = 'Finished', EXISTS (SELECT FROM machine_agent_started)
             FROM work_attempt WHERE {fence} BETWEEN fence AND last_fence"
        );
        let attempt = s.db.rows(&attempt).await.unwrap();
        assert_eq!(attempt.len(), 1, "dropped after {polls} polls");
        assert!(
            attempt == ["t|t"] || attempt == ["f|f"],
            "dropped after {polls} polls: {attempt:?}"
        );
        if complete {
            return;
        }
        reset_machine(&s.db, machine).await;
    }
    panic!("the end was never completed");
}

async fn reset_machine(db: &TestDb, machine: MachineId) {
    db.run_sql(&format!(
        "DELETE FROM machine_agent_started;
         UPDATE work_item SET backoff_until = NULL WHERE machine_id = '{machine}'"
    ))
    .await
    .unwrap();
}

#[tokio::test]
async fn a_dropped_finish_takes_effect_as_a_whole_or_gives_the_machine_back() {
    check_dropped_end(async |work, polls| {
        let machine = work.machine();
        let finish = work.finish(async |tx| {
            tx.set_agent_started(machine, &AgentStarted::now(b"key"))
                .await
        });
        polled(polls, finish).await.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_dropped_finish_with_tags_takes_effect_as_a_whole_or_gives_the_machine_back() {
    check_dropped_end(async |work, polls| {
        let writes = TagWrites::new().agent_started(AgentStarted::now(b"key"));
        polled(polls, work.complete_with(writes)).await.is_some()
    })
    .await;
}

#[tokio::test]
async fn a_dropped_failure_takes_effect_or_gives_the_machine_back() {
    check_dropped_end(async |work, polls| polled(polls, work.fail(&RETRY, "test")).await.is_some())
        .await;
}

#[tokio::test]
async fn a_dropped_cancel_takes_effect() {
    check_dropped_end(async |work, polls| polled(polls, work.cancel()).await.is_some()).await;
}
