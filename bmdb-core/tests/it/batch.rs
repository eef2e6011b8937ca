//! Batches: many attempts end in one statement, each independently.

use crate::scenario::{RETRY, Scenario, counted, unwritten};
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::{Bmdb, Claim, Session, SessionOptions, TxError, Work};
use bmdb_model::{Process, Provider};
use bmdb_testkit::{Loss, Proxy};
use diesel_async::SimpleAsyncConnection;

pub(crate) const START: Process = Process::SHEPHERD_AGENT_START;

/// Machines that are due, and a session whose requests are counted.
pub(crate) struct Fleet {
    s: Scenario,
    pub(crate) proxy: Proxy,
    pub(crate) session: Session,
    pub(crate) bmdb: Bmdb,
}

impl Fleet {
    pub(crate) async fn of(machines: u32) -> Self {
        let s = Scenario::new().await;
        s.db.run_sql(&format!(
            "INSERT INTO machines (machine_id)
             SELECT gen_random_uuid() FROM generate_series(1, {machines});
             INSERT INTO machine_provided (machine_id, provider, provider_id)
             SELECT machine_id, 'Equinix', machine_id::text FROM machines"
        ))
        .await
        .unwrap();
        s.bmdb.replan().await.unwrap();
        let (proxy, bmdb, session) = counted(&s.db).await;
        Self {
            s,
            proxy,
            session,
            bmdb,
        }
    }

    pub(crate) async fn claim(&self, limit: u32) -> Vec<Work> {
        let claim = Claim::of(&START).provider(&Provider::EQUINIX).limit(limit);
        self.session.claim(&claim).await.unwrap()
    }

    /// Prepares every statement of these tests on the one connection.
    async fn warm_up(&self) {
        for work in self.claim(1).await {
            work.fail(&RETRY, "prepares the statement").await.unwrap();
        }
        for work in self.claim(1).await {
            work.cancel().await.unwrap();
        }
    }

    async fn attempts(&self, columns: &str) -> Vec<String> {
        let rows = format!("SELECT {columns} FROM work_attempt ORDER BY 1");
        self.s.db.rows(&rows).await.unwrap()
    }

    async fn claimed_items(&self) -> Vec<String> {
        let count = "SELECT count(*) FROM work_item WHERE session_id IS NOT NULL";
        self.s.db.rows(count).await.unwrap()
    }
}

#[tokio::test]
async fn a_batch_of_a_hundred_is_claimed_with_one_request_and_ended_with_one() {
    let fleet = Fleet::of(101).await;
    fleet.warm_up().await;
    let before = fleet.proxy.requests();
    let claimed = fleet.claim(100).await;
    assert_eq!((claimed.len(), fleet.proxy.requests() - before), (100, 1));
    let ended = fleet.session.cancel_all(claimed).await;
    assert!(ended.iter().all(Result::is_ok));
    assert_eq!(fleet.proxy.requests() - before, 2);
    let failures = fleet.claim(100).await;
    let failures = failures.into_iter().map(|work| (work, &RETRY, "no answer"));
    let failed = fleet.session.fail_all(failures).await;
    assert!(failed.iter().all(Result::is_ok));
    assert_eq!(fleet.proxy.requests() - before, 4);
    assert_eq!(fleet.claimed_items().await, ["0"]);
}

/// Four tasks that failed machines by the hundred waited for each other's commits.
#[tokio::test]
async fn a_large_batch_does_not_wait_for_another_one() {
    let fleet = Fleet::of(200).await;
    let session = fleet.s.bmdb.start_session(SessionOptions::default()).await;
    let session = session.unwrap();
    let claim = Claim::of(&START).provider(&Provider::EQUINIX).limit(100);
    let stopped = session.claim(&claim).await.unwrap();
    let others = session.claim(&claim).await.unwrap();
    let mut blocking = fleet.s.db.connect().await.unwrap();
    let lock = format!(
        "BEGIN; SELECT FROM work_item WHERE machine_id = '{}' FOR UPDATE",
        stopped[0].machine()
    );
    blocking.batch_execute(&lock).await.unwrap();
    let fail_all = async |claimed: Vec<Work>| {
        let failures = claimed.into_iter().map(|work| (work, &RETRY, "no answer"));
        session.fail_all(failures).await
    };
    let stopped = fail_all(stopped);
    let others = async {
        until(&fleet.s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
        let failed = fail_all(others).await;
        assert!(failed.iter().all(Result::is_ok));
        assert_eq!(
            fleet.claimed_items().await,
            ["100"],
            "the first batch waits"
        );
        blocking.batch_execute("ROLLBACK").await.unwrap();
    };
    let (failed, ()) = tokio::join!(stopped, others);
    assert!(failed.iter().all(Result::is_ok));
    assert_eq!(fleet.claimed_items().await, ["0"]);
}

#[tokio::test]
async fn each_failure_of_a_batch_has_its_own_interval_and_cause() {
    let fleet = Fleet::of(3).await;
    let policies: Vec<Backoff> = [7, 8, 9]
        .map(|seconds| Backoff::fixed(Seconds::new(seconds).unwrap()))
        .into();
    let causes = ["power", "network", "disk"];
    let claimed = fleet.claim(3).await;
    let failures = claimed.into_iter().zip(policies.iter().zip(causes));
    let failures = failures.map(|(work, (policy, cause))| (work, policy, cause));
    let failed = fleet.session.fail_all(failures).await;
    let intervals: Vec<u32> = failed
        .iter()
        .map(|failed| failed.as_ref().unwrap().interval.get())
        .collect();
    assert_eq!(intervals, [7, 8, 9]);
    let written = fleet.attempts("interval_seconds, cause, outcome").await;
    assert_eq!(
        written,
        ["7|power|Failed", "8|network|Failed", "9|disk|Failed"]
    );
}

#[tokio::test]
async fn attempts_of_a_batch_end_independently() {
    let fleet = Fleet::of(4).await;
    let claimed = fleet.claim(4).await;
    let lost = claimed[1].machine();
    fleet
        .s
        .db
        .run_sql(&format!(
            "UPDATE work_item SET session_id = NULL, started_at = NULL WHERE machine_id = '{lost}'"
        ))
        .await
        .unwrap();
    // The database refuses one of the causes, so the statement fails for all.
    fleet.s.refuse_cause("refused").await;
    let causes = ["fine", "fine", "refused", "fine"];
    let failures = claimed
        .into_iter()
        .zip(causes)
        .map(|(work, cause)| (work, &RETRY, cause));
    let mut failed = fleet.session.fail_all(failures).await;
    assert!(failed[0].is_ok() && failed[3].is_ok());
    let refused = failed.remove(2).unwrap_err();
    assert!(
        refused.to_string().contains("check constraint"),
        "{refused}"
    );
    assert!(matches!(
        failed[1].as_ref().unwrap_err().reason(),
        TxError::WorkLost
    ));
    // The refused work is returned, still claimed, so that it can be ended in another way.
    assert_eq!(fleet.claimed_items().await, ["1"]);
    refused.into_work().unwrap().cancel().await.unwrap();
    assert_eq!(fleet.claimed_items().await, ["0"]);
}

#[tokio::test]
async fn a_batch_finishes_work_of_its_own_session_and_of_another() {
    let fleet = Fleet::of(3).await;
    let mut claimed = fleet.claim(2).await;
    let claim = Claim::of(&START).provider(&Provider::EQUINIX);
    claimed.extend(fleet.s.session.claim(&claim).await.unwrap());
    assert_eq!(claimed.len(), 3);
    let ended = fleet.session.finish_all(unwritten(claimed)).await;
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    assert_eq!(fleet.attempts("outcome").await, ["Finished"; 3]);
    assert!(fleet.session.finish_all([]).await.is_empty());
}

#[tokio::test]
async fn a_batch_looks_up_its_outcomes_after_a_lost_answer() {
    for loss in Loss::ALL {
        let fleet = Fleet::of(5).await;
        fleet.warm_up().await;
        let claimed = fleet.claim(4).await;
        fleet.proxy.lose(loss, "answer lost");
        let failures = claimed
            .into_iter()
            .map(|work| (work, &RETRY, "answer lost"));
        let failed = fleet.session.fail_all(failures).await;
        assert!(failed.iter().all(Result::is_ok), "{loss:?}: {failed:?}");
        assert_eq!(fleet.claimed_items().await, ["0"], "{loss:?}");
        let causes = fleet.attempts("cause").await;
        let unheard = causes
            .iter()
            .filter(|cause| *cause == "answer lost")
            .count();
        assert_eq!(unheard, 4, "{loss:?}: {causes:?}");
    }
}

#[tokio::test]
async fn ends_that_are_submitted_while_one_is_on_its_way_share_the_next_statement() {
    let fleet = Fleet::of(22).await;
    fleet.warm_up().await;
    let mut claimed = fleet.claim(21).await;
    let before = fleet.proxy.requests();
    // The proxy holds back the first end.
    fleet.proxy.black_hole();
    let first = claimed.pop().unwrap();
    let first = tokio::spawn(async move { first.fail(&RETRY, "first").await.map(drop) });
    let yields = async || {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    };
    // The runtime has to poll the task to send the end, but no answer is needed.
    yields().await;
    let others = claimed
        .into_iter()
        .map(|work| tokio::spawn(async move { work.fail(&RETRY, "later").await.map(drop) }));
    let others: Vec<_> = others.collect();
    yields().await;
    fleet.proxy.heal().unwrap();
    first.await.unwrap().unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    // One statement for the first, one for the twenty others.
    assert_eq!(fleet.proxy.requests() - before, 2);
    assert_eq!(fleet.claimed_items().await, ["0"]);
}
