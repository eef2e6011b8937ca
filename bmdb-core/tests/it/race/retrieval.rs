//! `Session::work` against rivals: its retrieval is stale by the time of the lock.

use super::gate::{Before, Gate};
use crate::scenario::{RETRY, Scenario, work_on};
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_core::{Claim, Tx, TxError, Work, WorkError};
use bmdb_model::internal;
use bmdb_model::internal::work::{self, Claimed};
use bmdb_model::{AgentStarted, Error, ErrorKind, MachineId, Process, machine, retrieval};
use diesel_async::SimpleAsyncConnection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

const START: Process = Process::SHEPHERD_AGENT_START;
const ACCESS: Process = Process::SHEPHERD_ACCESS;

/// A due machine, and a `Session::work` that has retrieved it and is paused.
struct Race {
    s: Scenario,
    machine: MachineId,
    go_on: Arc<Notify>,
    paused: JoinHandle<Result<Work, WorkError>>,
}

impl Race {
    /// Paused after its first retrieval, before anything is locked.
    async fn before_the_lock() -> Self {
        Self::paused_in_retrieval(1).await
    }

    /// Paused after its second retrieval, under the machine's lock.
    async fn under_the_lock() -> Self {
        Self::paused_in_retrieval(2).await
    }

    async fn paused_in_retrieval(number: u32) -> Self {
        let s = Scenario::new().await;
        let machine = s.provided("1").await;
        let session = s.another_session().await;
        let (reached, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (arrived, waiting) = (reached.clone(), go_on.clone());
        let paused = tokio::spawn(async move {
            let calls = AtomicU32::new(0);
            let retrieve = async |tx: &mut Tx<'_>| {
                let due = retrieval::for_agent_start(tx, &START, None, 1).await?;
                if calls.fetch_add(1, Ordering::Relaxed) + 1 == number {
                    arrived.notify_one();
                    waiting.notified().await;
                }
                Ok::<_, TxError>(due.into_iter().map(|p| p.machine_id).collect())
            };
            session.work(&START, retrieve).await
        });
        reached.notified().await;
        Self {
            s,
            machine,
            go_on,
            paused,
        }
    }

    /// The rival claims the machine through the queue, which locks no machine.
    async fn rival(&self) -> Work {
        let mut all = self.s.session.claim(&Claim::of(&START)).await.unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    async fn resume(self) -> (Result<Work, WorkError>, Scenario) {
        self.go_on.notify_one();
        (self.paused.await.unwrap(), self.s)
    }
}

#[tokio::test]
async fn without_a_rival_it_gets_the_machine() {
    for race in [Race::before_the_lock().await, Race::under_the_lock().await] {
        let machine = race.machine;
        let (work, _s) = race.resume().await;
        assert_eq!(work.unwrap().machine(), machine);
    }
}

#[tokio::test]
async fn a_machine_that_a_rival_claims_before_the_lock_is_a_conflict() {
    let race = Race::before_the_lock().await;
    let (rival, raced) = (race.rival().await, race.machine);
    let (work, _s) = race.resume().await;
    assert!(matches!(work, Err(WorkError::Conflict { machine }) if machine == raced));
    drop(rival);
}

#[tokio::test]
async fn a_machine_that_a_rival_claims_under_the_lock_is_not_claimed_twice() {
    let race = Race::under_the_lock().await;
    let rival = race.rival().await;
    let (work, s) = race.resume().await;
    // Its retrieval is repeated, and does not return claimed machines.
    assert!(matches!(work, Err(WorkError::NothingToDo)), "{work:?}");
    assert_eq!(s.db.rows("SELECT 1 FROM work").await.unwrap().len(), 1);
    drop(rival);
}

#[tokio::test]
async fn a_machine_that_a_rival_fails_on_before_the_lock_is_backing_off() {
    let race = Race::before_the_lock().await;
    let failed = race.rival().await.fail(&RETRY, "test").await.unwrap();
    let (work, _s) = race.resume().await;
    assert!(matches!(work, Err(WorkError::BackedOff { until, .. }) if until == failed.until));
}

#[tokio::test]
async fn a_machine_that_a_rival_fails_on_under_the_lock_is_not_claimed() {
    let race = Race::under_the_lock().await;
    race.rival().await.fail(&RETRY, "test").await.unwrap();
    let (work, _s) = race.resume().await;
    assert!(matches!(work, Err(WorkError::NothingToDo)), "{work:?}");
}

#[tokio::test]
async fn a_machine_that_a_rival_finishes_before_the_lock_is_done() {
    let race = Race::before_the_lock().await;
    let (rival, machine) = (race.rival().await, race.machine);
    rival
        .finish(async |tx| {
            tx.set_agent_started(machine, &AgentStarted::now(b"key"))
                .await
        })
        .await
        .unwrap();
    let (work, _s) = race.resume().await;
    assert!(matches!(work, Err(WorkError::NothingToDo)), "{work:?}");
}

#[tokio::test]
async fn a_machine_that_is_put_on_hold_before_the_lock_is_not_claimed() {
    let race = Race::before_the_lock().await;
    let raced = race.machine;
    race.s
        .session
        .transact(async |tx| tx.hold(raced, "test").await)
        .await
        .unwrap();
    let (work, _s) = race.resume().await;
    assert!(matches!(work, Err(WorkError::OnHold { machine }) if machine == raced));
}

#[tokio::test]
async fn a_machine_whose_lane_mate_starts_before_the_lock_is_a_conflict() {
    let race = Race::before_the_lock().await;
    let mate = work_on(&race.s.session, &ACCESS, race.machine)
        .await
        .unwrap();
    let (work, _s) = race.resume().await;
    assert!(matches!(work, Err(WorkError::Conflict { .. })), "{work:?}");
    drop(mate);
}

#[tokio::test]
async fn a_session_that_expires_during_the_retrieval_starts_no_work_that_lasts() {
    let race = Race::before_the_lock().await;
    let sessions = format!(
        "SELECT session_id FROM sessions WHERE session_id <> '{}'",
        race.s.session.id()
    );
    let expiring = race.s.db.rows(&sessions).await.unwrap();
    race.s
        .db
        .expire(expiring[0].parse().unwrap())
        .await
        .unwrap();
    // Its transaction locks the session, so all that it does comes before the janitor's turn.
    assert_eq!(race.s.bmdb.reclaim_expired().await.unwrap().sessions, []);
    let (work, s) = race.resume().await;
    s.bmdb.reclaim_expired().await.unwrap();
    assert!(s.db.rows("SELECT 1 FROM work").await.unwrap().is_empty());
    drop(work);
}

#[tokio::test]
async fn a_rival_that_claims_while_the_lock_is_awaited_is_seen() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let mut writer = s.db.connect().await.unwrap();
    writer.batch_execute("BEGIN").await.unwrap();
    machine::touch(&mut writer, &[machine]).await.unwrap();

    let session = s.another_session().await;
    let waiting = tokio::spawn(async move { work_on(&session, &ACCESS, machine).await });
    until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
    let rival = s.session.claim(&Claim::of(&START)).await.unwrap();
    writer.batch_execute("ROLLBACK").await.unwrap();
    let work = waiting.await.unwrap();
    assert!(matches!(work, Err(WorkError::Conflict { .. })), "{work:?}");
    drop(rival);
}

/// The claim of one machine under its lock, paused before it locks the item, which a rival claims
/// through the queue and acts on.
async fn claim_machine_overtaken_by(
    process: Process,
    rival: impl AsyncFnOnce(Vec<Work>) -> Vec<Work>,
) -> Result<Option<Claimed>, Error> {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let session = s.db.session(Duration::from_secs(60)).await.unwrap();
    let gate = Gate::closed(&s.db, Before::LockingItems).await;
    let mut conn = gate.connect().await;
    let paused = tokio::spawn(async move {
        conn.batch_execute("BEGIN").await.unwrap();
        assert!(internal::machine::lock(&mut conn, machine).await.unwrap());
        work::claim_machine(&mut conn, machine, &process, session).await
    });
    gate.reached(&s.db).await;
    let all = s.session.claim(&Claim::of(&START)).await.unwrap();
    assert_eq!(all.len(), 1);
    let _kept = rival(all).await;
    gate.open().await;
    paused.await.unwrap()
}

#[tokio::test]
async fn a_rival_between_the_last_check_and_the_claim_is_seen() {
    let claimed = claim_machine_overtaken_by(START, async |all| all).await;
    assert_eq!(claimed.unwrap(), None);
}

#[tokio::test]
async fn a_failure_between_the_last_check_and_the_claim_is_seen() {
    let claimed = claim_machine_overtaken_by(START, async |all| {
        for work in all {
            work.fail(&RETRY, "test").await.unwrap();
        }
        Vec::new()
    })
    .await;
    assert_eq!(claimed.unwrap(), None);
}

#[tokio::test]
async fn a_lane_mate_between_the_last_check_and_the_claim_is_seen() {
    let claimed = claim_machine_overtaken_by(ACCESS, async |all| all).await;
    assert_eq!(claimed.unwrap_err().kind(), ErrorKind::LaneTaken);
}
