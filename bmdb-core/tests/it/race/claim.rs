//! Claims through the queue that are paused between snapshot and lock, while rivals act.

use super::gate::{Before, Gate};
use crate::scenario::{RETRY, Scenario, work_on};
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_core::{Claim, Work};
use bmdb_model::internal::session;
use bmdb_model::internal::work::{self, Claimed};
use bmdb_model::{AgentStarted, Error, ErrorKind, MachineId, Process, Provider, SessionId};
use bmdb_testkit::TestDb;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use std::time::Duration;
use tokio::task::JoinHandle;

const START: Process = Process::SHEPHERD_AGENT_START;
const ACCESS: Process = Process::SHEPHERD_ACCESS;

type Answer = Result<Option<Vec<Claimed>>, Error>;

/// A due machine, a paused claim of it, and the session of a rival, in `s`.
pub(super) struct Race {
    pub(super) s: Scenario,
    pub(super) machine: MachineId,
    claimer: SessionId,
    gate: Gate,
    paused: JoinHandle<Answer>,
}

impl Race {
    async fn begin() -> Self {
        Self::begin_with("", claim).await
    }

    /// The same after a change of the database, with this way of claiming.
    pub(super) async fn begin_with<F>(
        change: &str,
        claim: impl FnOnce(AsyncPgConnection, SessionId) -> F,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let s = Scenario::new().await;
        let machine = s.provided("1").await;
        s.db.run_sql(change).await.unwrap();
        let claimer = s.db.session(Duration::from_secs(60)).await.unwrap();
        let gate = Gate::closed(&s.db, Before::LockingItems).await;
        let paused = tokio::spawn(claim(gate.connect().await, claimer));
        gate.reached(&s.db).await;
        Self {
            s,
            machine,
            claimer,
            gate,
            paused,
        }
    }

    /// The rival claims the machine, also through the queue.
    pub(super) async fn rival(&self) -> Work {
        let mut all = self.s.session.claim(&Claim::of(&START)).await.unwrap();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    /// Lets the claim continue. Returns its answer and the database.
    pub(super) async fn resume(self) -> (Answer, Scenario) {
        self.gate.open().await;
        (self.paused.await.unwrap(), self.s)
    }

    /// The claim continues and gets these machines.
    async fn check(self, expected: &[MachineId]) {
        let (answer, _s) = self.resume().await;
        let claimed: Vec<MachineId> = answer
            .unwrap()
            .expect("the session lives")
            .iter()
            .map(|claimed| claimed.machine)
            .collect();
        assert_eq!(claimed, expected);
    }
}

/// The product's claim.
pub(super) async fn claim(mut conn: AsyncPgConnection, session: SessionId) -> Answer {
    work::claim(&mut conn, &START, Some(&Provider::EQUINIX), session, 5).await
}

/// The claims, as `process|session`.
pub(super) async fn claims(db: &TestDb) -> Vec<String> {
    db.rows("SELECT process, session_id FROM work ORDER BY process")
        .await
        .unwrap()
}

#[tokio::test]
async fn a_paused_claim_has_a_snapshot_but_no_row_lock() {
    let race = Race::begin().await;
    race.s.provided("2").await;
    race.s
        .db
        .run_sql("SELECT 1 FROM work_item FOR UPDATE NOWAIT")
        .await
        .unwrap();
    let machine = race.machine;
    race.check(&[machine]).await;
}

#[tokio::test]
async fn a_machine_that_a_rival_claims_first_is_not_claimed() {
    let race = Race::begin().await;
    let rival = race.rival().await;
    race.check(&[]).await;
    drop(rival);
}

#[tokio::test]
async fn a_machine_that_a_rival_claims_and_fails_first_is_not_claimed() {
    let race = Race::begin().await;
    race.rival().await.fail(&RETRY, "test").await.unwrap();
    race.check(&[]).await;
}

#[tokio::test]
async fn a_machine_that_a_rival_claims_and_finishes_first_is_not_claimed() {
    let race = Race::begin().await;
    let (rival, machine) = (race.rival().await, race.machine);
    rival
        .finish(async |tx| {
            tx.set_agent_started(machine, &AgentStarted::now(b"key"))
                .await
        })
        .await
        .unwrap();
    race.check(&[]).await;
}

#[tokio::test]
async fn a_machine_that_a_tag_makes_ineligible_first_is_not_claimed() {
    let race = Race::begin().await;
    let machine = race.machine;
    race.s
        .session
        .transact(async |tx| {
            tx.set_agent_started(machine, &AgentStarted::now(b"key"))
                .await
        })
        .await
        .unwrap();
    race.check(&[]).await;
}

#[tokio::test]
async fn a_machine_that_is_put_on_hold_first_is_not_claimed() {
    let race = Race::begin().await;
    let machine = race.machine;
    race.s
        .session
        .transact(async |tx| tx.hold(machine, "test").await)
        .await
        .unwrap();
    race.check(&[]).await;
}

#[tokio::test]
async fn a_machine_that_a_rival_claims_and_cancels_first_may_be_claimed() {
    let race = Race::begin().await;
    race.rival().await.cancel().await.unwrap();
    let machine = race.machine;
    race.check(&[machine]).await;
}

#[tokio::test]
async fn a_machine_that_a_rival_cancels_first_may_be_claimed_and_one_that_rests_is_not() {
    let race = Race::begin().await;
    race.rival().await.cancel().await.unwrap();
    let machine = race.machine;
    race.check(&[machine]).await;
    let race = Race::begin().await;
    race.rival().await.complete().await.unwrap();
    race.check(&[]).await;
}

#[tokio::test]
async fn a_machine_that_is_replanned_first_and_still_due_may_be_claimed() {
    let race = Race::begin().await;
    let earlier = "UPDATE work_item SET plan_at = plan_at - interval '1 hour'";
    race.s.db.run_sql(earlier).await.unwrap();
    let machine = race.machine;
    race.check(&[machine]).await;
}

#[tokio::test]
async fn a_machine_of_an_uncommitted_rival_is_skipped_without_waiting() {
    let race = Race::begin().await;
    let mut rival = race.s.db.connect().await.unwrap();
    rival.batch_execute("BEGIN").await.unwrap();
    let claimed = work::claim(&mut rival, &START, None, race.s.session.id(), 1).await;
    assert_eq!(claimed.unwrap().unwrap().len(), 1);
    race.check(&[]).await;
}

#[tokio::test]
async fn a_lane_mate_that_a_rival_claims_first_is_the_only_claim() {
    let race = Race::begin().await;
    let mate = work_on(&race.s.session, &ACCESS, race.machine)
        .await
        .unwrap();
    let (answer, s) = race.resume().await;
    assert_eq!(answer.unwrap_err().kind(), ErrorKind::LaneTaken);
    let expected = format!("{ACCESS}|{}", s.session.id());
    assert_eq!(claims(&s.db).await, [expected]);
    drop(mate);
}

#[tokio::test]
async fn the_janitor_skips_a_session_while_its_claim_runs() {
    let race = Race::begin().await;
    let (claimer, machine) = (race.claimer, race.machine);
    race.s.db.expire(claimer).await.unwrap();
    assert_eq!(race.s.bmdb.reclaim_expired().await.unwrap().sessions, []);

    let (answer, s) = race.resume().await;
    // The claim must be answered, or the work could not be ended; the session gets nothing else.
    let claimed = answer.unwrap().unwrap();
    assert_eq!(claimed.len(), 1);
    let losses = s.bmdb.reclaim_expired().await.unwrap();
    assert_eq!(losses.sessions, [claimer]);
    assert_eq!(losses.attempts.len(), 1);
    assert_eq!(
        (losses.attempts[0].machine, losses.attempts[0].fence),
        (machine, claimed[0].fence)
    );
    assert!(claims(&s.db).await.is_empty());
}

#[tokio::test]
async fn an_expired_session_claims_nothing_and_does_not_wait_for_its_janitor() {
    let s = Scenario::new().await;
    s.provided("1").await;
    let expired = s.db.session(Duration::from_secs(60)).await.unwrap();
    s.db.expire(expired).await.unwrap();
    let mut janitor = s.db.connect().await.unwrap();
    janitor.batch_execute("BEGIN").await.unwrap();
    let locked = session::lock_expired(&mut janitor, 10).await.unwrap();
    assert_eq!(locked, [expired]);

    let mut conn = s.db.connect().await.unwrap();
    let claim = work::claim(&mut conn, &START, None, expired, 1);
    let answer = tokio::time::timeout(Duration::from_secs(2), claim).await;
    assert_eq!(answer.expect("it waits").unwrap(), None);
}

#[tokio::test]
async fn closing_a_session_while_its_claim_runs_gives_the_machine_back() {
    let s = Scenario::new().await;
    s.provided("1").await;
    let closing = s.another_session().await;
    let (id, gate) = (
        closing.id(),
        Gate::closed(&s.db, Before::LockingItems).await,
    );
    let claiming = tokio::spawn(claim(gate.connect().await, id));
    gate.reached(&s.db).await;
    let closing = tokio::spawn(closing.close());
    until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
    gate.open().await;
    assert_eq!(claiming.await.unwrap().unwrap().unwrap().len(), 1);
    closing.await.unwrap().unwrap();
    let attempts = "SELECT session_id, outcome FROM work_attempt";
    assert_eq!(s.rows(attempts).await, [format!("{id}|Canceled")]);
    assert!(claims(&s.db).await.is_empty());
}

#[tokio::test]
async fn a_session_that_is_deleted_while_its_claim_waits_gets_nothing() {
    let s = Scenario::new().await;
    s.provided("1").await;
    let closing = s.db.session(Duration::from_secs(60)).await.unwrap();
    let mut closer = s.db.connect().await.unwrap();
    closer.batch_execute("BEGIN").await.unwrap();
    assert!(session::lock(&mut closer, closing).await.unwrap());

    let mut conn = s.db.connect().await.unwrap();
    let claim = tokio::spawn(async move {
        work::claim(&mut conn, &START, None, closing, 1)
            .await
            .unwrap()
    });
    until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
    session::delete(&mut closer, &[closing]).await.unwrap();
    closer.batch_execute("COMMIT").await.unwrap();

    // The snapshot from before the deletion shows a live session; the lock decides.
    assert!(claim.await.unwrap().unwrap_or_default().is_empty());
    assert!(claims(&s.db).await.is_empty());
}
