//! Ends: each attempt ends exactly once, in one transaction with its tags.

use crate::scenario::{RETRY, Scenario, work_access, work_on};
use crate::wait::until;
use bmdb_core::TxError;
use bmdb_model::{AgentStarted, MachineId, Process};

const ACCESS: Process = Process::SHEPHERD_ACCESS;
const OUTCOMES: &str = "SELECT process, outcome, cause FROM work_attempt ORDER BY fence";

impl Scenario {
    async fn agent(&self, machine: MachineId) -> Vec<String> {
        let tag = format!("SELECT 1 FROM machine_agent_started WHERE machine_id = '{machine}'");
        self.rows(&tag).await
    }
}

#[tokio::test]
async fn a_finish_commits_its_tags_and_its_end_in_one_transaction() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let agent = AgentStarted::now(b"key");
    let work = s.claim_one().await;
    let finished = work.finish(async |tx| {
        tx.set_agent_started(machine, &agent).await?;
        Ok("done")
    });
    assert_eq!(finished.await.unwrap(), "done");
    assert_eq!(s.agent(machine).await, ["1"]);
    assert_eq!(s.rows(OUTCOMES).await, ["ShepherdAgentStart|Finished|"]);
    let items = "SELECT process, eligible, session_id FROM work_item ORDER BY process";
    assert_eq!(
        s.rows(items).await,
        ["ShepherdAgentStart|f|", "ShepherdRecovery|t|"]
    );
}

#[tokio::test]
async fn a_finish_with_an_aborted_closure_commits_nothing_and_gives_the_work_back() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let agent = AgentStarted::now(b"key");
    let failed = s
        .claim_one()
        .await
        .finish(async |tx| {
            tx.set_agent_started(machine, &agent).await?;
            Err::<(), _>(TxError::abort("on second thoughts"))
        })
        .await
        .unwrap_err();
    assert_eq!(
        failed.to_string(),
        "the transaction was aborted by its closure: on second thoughts"
    );
    assert_eq!(s.agent(machine).await, [""; 0]);
    assert_eq!(s.rows(OUTCOMES).await, [""; 0]);

    let work = failed.into_work().expect("the work is still claimed");
    work.fail(&RETRY, "on second thoughts").await.unwrap();
    assert_eq!(
        s.rows(OUTCOMES).await,
        ["ShepherdAgentStart|Failed|on second thoughts"]
    );
}

#[tokio::test]
async fn a_finish_of_lost_work_commits_nothing() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = s.claim_one().await;
    s.db.expire(s.session.id()).await.unwrap();
    let agent = AgentStarted::now(b"key");
    let refused = work
        .finish(async |tx| tx.set_agent_started(machine, &agent).await)
        .await;
    let (reason, work) = refused.unwrap_err().into_parts();
    assert!(matches!(reason, TxError::SessionExpired), "{reason:?}");
    assert!(work.is_none(), "there is nothing left to end");
    assert_eq!(s.agent(machine).await, [""; 0]);
    assert_eq!(s.rows(OUTCOMES).await, [""; 0]);
}

#[tokio::test]
async fn a_failure_that_cannot_be_stored_gives_the_work_back() {
    let s = Scenario::new().await;
    s.provided("a").await;
    s.refuse_cause("refused").await;
    let refused = s
        .claim_one()
        .await
        .fail(&RETRY, "refused")
        .await
        .unwrap_err();
    assert!(
        refused.to_string().contains("check constraint"),
        "{refused}"
    );
    let work = refused.into_work().expect("the work is still claimed");
    let failed = work.fail(&RETRY, "no answer").await.unwrap();
    assert_eq!(failed.interval.get(), 1);
    assert_eq!(
        s.rows(OUTCOMES).await,
        ["ShepherdAgentStart|Failed|no answer"]
    );
}

#[tokio::test]
async fn a_long_cause_is_cut_with_a_mark() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let cause = "no answer ".repeat(1000);
    s.claim_one().await.fail(&RETRY, &cause).await.unwrap();
    let row = s
        .backoff(machine, &Process::SHEPHERD_AGENT_START)
        .await
        .unwrap();
    let kept = row.cause.unwrap();
    assert_eq!(kept.len(), 8192);
    assert!(kept.ends_with(" … [cut]"), "{}", &kept[8170..]);
}

#[tokio::test]
async fn dropped_work_is_canceled_in_the_background() {
    let s = Scenario::new().await;
    s.provided("a").await;
    drop(s.claim_one().await);
    until(&s.db, "NOT EXISTS (SELECT FROM work)").await;
    assert_eq!(s.rows(OUTCOMES).await, ["ShepherdAgentStart|Canceled|"]);
    s.claim_one().await.cancel().await.unwrap();
}

#[tokio::test]
async fn after_a_dropped_finish_the_machine_can_be_claimed_again() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let stuck = s
        .claim_one()
        .await
        .finish(async |_| std::future::pending::<Result<(), TxError>>().await);
    let begun = "EXISTS (SELECT FROM pg_stat_activity
                 WHERE datname = current_database() AND state = 'idle in transaction')";
    tokio::select! {
        _ = stuck => unreachable!("it waits for ever"),
        () = until(&s.db, begun) => {}
    }
    until(&s.db, "NOT EXISTS (SELECT FROM work)").await;
    assert_eq!(s.rows(OUTCOMES).await, ["ShepherdAgentStart|Canceled|"]);
}

#[tokio::test]
async fn a_cancel_neither_finishes_nor_fails_and_the_intervals_continue() {
    let s = Scenario::new().await;
    s.provided("a").await;
    for (expected, previous) in [(1, None), (2, Some(1)), (4, Some(2))] {
        work_access(&s.session)
            .await
            .unwrap()
            .cancel()
            .await
            .unwrap();
        let work = work_access(&s.session).await.unwrap();
        assert_eq!(
            work.previous_interval().map(|seconds| seconds.get()),
            previous
        );
        let failed = work.fail(&RETRY, "no answer").await.unwrap();
        assert_eq!(failed.interval.get(), expected);
        s.advance(u64::from(expected) + 1).await;
    }
}

#[tokio::test]
async fn after_a_finish_without_tags_the_machine_rests_and_is_due_again() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let first = s.claim_one().await;
    let fence = first.fence();
    first.complete().await.unwrap();
    s.advance(34).await;
    let second = s.claim_one().await;
    assert!(second.fence() > fence);
    second.complete().await.unwrap();
    assert_eq!(s.rows(OUTCOMES).await, ["ShepherdAgentStart|Finished|"; 2]);
}

#[tokio::test]
async fn a_finish_may_delete_its_machine_and_only_history_stays() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    work.finish(async |tx| tx.delete_machine(machine).await)
        .await
        .unwrap();
    assert_eq!(s.rows("SELECT machine_id FROM machines").await, [""; 0]);
    let events = s.bmdb.history_of(machine).await.unwrap();
    let recorded: Vec<_> = events
        .iter()
        .map(|e| (e.process.as_str(), e.event.as_str()))
        .collect();
    assert_eq!(
        recorded,
        [
            ("ShepherdAccess", "Started"),
            ("ShepherdAccess", "Finished")
        ]
    );
}
