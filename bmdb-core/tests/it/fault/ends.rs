//! Ends whose connection breaks: the outcome is looked up by the fence, and the `Work` is never lost
//! while its machine stays claimed.

use super::{COMMIT, component_trying_for};
use crate::scenario::{RETRY, Scenario, work_on};
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_core::{Bmdb, EndError, Session, SessionOptions, TxError, Work};
use bmdb_model::{AgentStarted, ErrorKind, MachineId, Process, TagWrites};
use bmdb_testkit::{Loss, Proxy, TestDb};
use diesel_async::SimpleAsyncConnection;
use std::time::Duration;

const ACCESS: Process = Process::SHEPHERD_ACCESS;
const SEVERAL_MINUTES: Duration = Duration::from_secs(300);

/// A scenario, and a second component that is connected through a proxy.
pub(super) struct Proxied {
    pub(super) s: Scenario,
    pub(super) proxy: Proxy,
    pub(super) session: Session,
    pub(super) machine: MachineId,
    _bmdb: Bmdb,
}

impl Proxied {
    pub(super) async fn new() -> Self {
        Self::retrying_for(super::SHORT).await
    }

    /// With a longer retry limit, for ends that must succeed on a busy computer too.
    pub(super) async fn retrying_for(limit: Duration) -> Self {
        let s = Scenario::new().await;
        let machine = s.provided("1").await;
        let proxy = Proxy::tcp(s.db.url()).await.unwrap();
        let bmdb = component_trying_for(&proxy, limit).await;
        let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
        // Prepares the commit, so that its text is not sent again: the proxy waits for the commit, not for
        // its preparation.
        session
            .transact(async |tx| tx.touch(machine).await)
            .await
            .unwrap();
        Self {
            s,
            proxy,
            session,
            machine,
            _bmdb: bmdb,
        }
    }

    pub(super) async fn work(&self) -> Work {
        work_on(&self.session, &ACCESS, self.machine).await.unwrap()
    }
}

#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    Finish,
    FinishUnchanged,
    FinishWithTags,
    Fail,
    FailAndHold,
    FailAndHoldProcess,
    Cancel,
    Snooze,
    PauseProvider,
}

impl End {
    pub(super) const ALL: [Self; 9] = [
        Self::Finish,
        Self::FinishUnchanged,
        Self::FinishWithTags,
        Self::Fail,
        Self::FailAndHold,
        Self::FailAndHoldProcess,
        Self::Cancel,
        Self::Snooze,
        Self::PauseProvider,
    ];

    pub(super) async fn of(self, work: Work) -> Result<(), EndError> {
        match self {
            Self::Finish => finish(work).await,
            Self::FinishUnchanged => work.complete().await,
            Self::FinishWithTags => work.complete_with(started()).await,
            Self::Fail => work.fail(&RETRY, "test").await.map(drop),
            Self::FailAndHold => work.fail_and_hold(&RETRY, "test").await.map(drop),
            Self::FailAndHoldProcess => work.fail_and_hold_process(&RETRY, "test").await.map(drop),
            Self::Cancel => work.cancel().await,
            Self::Snooze => work.snooze(SEVERAL_MINUTES).await,
            Self::PauseProvider => work.pause_provider(SEVERAL_MINUTES, "test").await.map(drop),
        }
    }

    /// What only the deciding request contains: the commit of an end with a closure; the name of the
    /// process in other ends, which are one statement.
    pub(super) fn needle(self) -> &'static str {
        match self {
            Self::Finish
            | Self::FinishUnchanged
            | Self::FinishWithTags
            | Self::FailAndHold
            | Self::FailAndHoldProcess
            | Self::PauseProvider => COMMIT,
            _ => "ShepherdAccess",
        }
    }

    pub(super) fn outcome(self) -> &'static str {
        match self {
            Self::Finish | Self::FinishUnchanged | Self::FinishWithTags => "Finished",
            Self::Fail | Self::FailAndHold | Self::FailAndHoldProcess => "Failed",
            Self::Cancel | Self::Snooze | Self::PauseProvider => "Canceled",
        }
    }
}

fn started() -> TagWrites {
    TagWrites::new().agent_started(AgentStarted::now(b"key"))
}

async fn finish(work: Work) -> Result<(), EndError> {
    let machine = work.machine();
    work.finish(async |tx| {
        tx.set_agent_started(machine, &AgentStarted::now(b"key"))
            .await
    })
    .await
}

/// Exactly this one attempt took place, and nothing is claimed.
pub(super) async fn check_ended_once(db: &TestDb, outcome: &str) {
    let outcomes = "SELECT outcome FROM work_attempt";
    assert_eq!(db.rows(outcomes).await.unwrap(), [outcome]);
    if outcome != "Finished" {
        let tags = "SELECT FROM machine_agent_started";
        assert!(db.rows(tags).await.unwrap().is_empty(), "{outcome}");
    }
    assert!(claimed_fences(db).await.is_empty());
}

pub(super) async fn claimed_fences(db: &TestDb) -> Vec<String> {
    db.rows("SELECT fence FROM work_item WHERE session_id IS NOT NULL")
        .await
        .unwrap()
}

async fn check_end_that_meets(end: End) {
    for loss in Loss::ALL {
        let p = Proxied::new().await;
        let work = p.work().await;
        p.proxy.lose(loss, end.needle());
        let ended = end.of(work).await;
        assert!(ended.is_ok(), "{end:?} and a lost {loss:?}: {ended:?}");
        assert!(p.proxy.has_lost());
        check_ended_once(&p.s.db, end.outcome()).await;
    }
}

#[tokio::test]
async fn a_finish_whose_commit_is_lost_on_the_way_takes_effect_once() {
    check_end_that_meets(End::Finish).await;
}

#[tokio::test]
async fn a_finish_without_closure_that_is_lost_on_the_way_takes_effect_once() {
    check_end_that_meets(End::FinishUnchanged).await;
}

#[tokio::test]
async fn a_finish_with_tags_that_is_lost_on_the_way_takes_effect_once() {
    check_end_that_meets(End::FinishWithTags).await;
}

#[tokio::test]
async fn a_fail_that_is_lost_on_the_way_takes_effect_once() {
    check_end_that_meets(End::Fail).await;
}

#[tokio::test]
async fn a_failure_with_a_hold_that_is_lost_on_the_way_takes_effect_once() {
    check_end_that_meets(End::FailAndHold).await;
}

#[tokio::test]
async fn a_failure_with_a_hold_of_the_process_that_is_lost_on_the_way_takes_effect_once() {
    check_end_that_meets(End::FailAndHoldProcess).await;
}

#[tokio::test]
async fn a_cancel_that_is_lost_on_the_way_takes_effect_once() {
    check_end_that_meets(End::Cancel).await;
}

#[tokio::test]
async fn a_snooze_that_is_lost_on_the_way_takes_effect_once() {
    check_end_that_meets(End::Snooze).await;
}

#[tokio::test]
async fn a_pause_of_a_provider_that_is_lost_on_the_way_takes_effect_once() {
    check_end_that_meets(End::PauseProvider).await;
}

/// Shows that the proxy loses the request: a transaction without a fence has an unknown outcome.
#[tokio::test]
async fn a_transaction_whose_commit_is_lost_on_the_way_has_an_unknown_outcome() {
    for (loss, expected) in [(Loss::Request, 0), (Loss::Answer, 1)] {
        let p = Proxied::new().await;
        let machine = p.machine;
        p.proxy.lose(loss, COMMIT);
        let unknown = p
            .session
            .transact(async |tx| {
                tx.set_agent_started(machine, &AgentStarted::now(b"key"))
                    .await
            })
            .await;
        assert!(
            matches!(unknown, Err(TxError::CommitUnknown(_))),
            "{unknown:?}"
        );
        let tags = "SELECT 1 FROM machine_agent_started";
        assert_eq!(p.s.db.rows(tags).await.unwrap().len(), expected);
    }
}

/// Kills every connection of the components under test.
async fn kill_all(db: &TestDb) {
    db.run_sql(
        "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'test'",
    )
    .await
    .unwrap();
}

#[tokio::test]
async fn an_end_on_a_connection_that_was_killed_while_idle_succeeds_or_gives_the_work_back() {
    for end in End::ALL {
        let s = Scenario::new().await;
        let machine = s.provided("1").await;
        let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
        kill_all(&s.db).await;
        if let Err(error) = end.of(work).await {
            let (reason, work) = error.into_parts();
            assert_eq!(reason.kind(), Some(ErrorKind::ConnectionLost), "{end:?}");
            end.of(work.expect("the work is still claimed"))
                .await
                .unwrap();
        }
        check_ended_once(&s.db, end.outcome()).await;
    }
}

#[tokio::test]
async fn a_finish_whose_connection_is_killed_in_its_closure_gives_the_work_back() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    let (db, fence) = (&s.db, work.fence());
    let error = work
        .finish(async |tx| {
            kill_all(db).await;
            tx.set_agent_started(machine, &AgentStarted::now(b"key"))
                .await
        })
        .await
        .unwrap_err();
    assert_eq!(error.reason().kind(), Some(ErrorKind::ConnectionLost));
    let work = error.into_work().expect("the work is still claimed");
    assert_eq!(claimed_fences(db).await, [fence.to_string()]);
    finish(work).await.unwrap();
    check_ended_once(db, "Finished").await;
}

#[tokio::test]
async fn ends_that_are_killed_while_they_wait_for_a_lock_take_effect_once() {
    for end in [
        End::FinishUnchanged,
        End::FinishWithTags,
        End::Fail,
        End::Cancel,
    ] {
        let s = Scenario::new().await;
        let machine = s.provided("1").await;
        let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
        let mut operator = s.db.connect().await.unwrap();
        operator
            .batch_execute("BEGIN; SELECT FROM work_item FOR UPDATE")
            .await
            .unwrap();
        let ending = tokio::spawn(end.of(work));
        until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
        kill_all(&s.db).await;
        operator.batch_execute("ROLLBACK").await.unwrap();
        ending.await.unwrap().unwrap();
        check_ended_once(&s.db, end.outcome()).await;
    }
}

#[tokio::test]
async fn while_the_database_cannot_be_reached_an_end_gives_the_work_back() {
    let p = Proxied::new().await;
    let work = p.work().await;
    p.proxy.refuse();
    let error = work.fail(&RETRY, "test").await.unwrap_err();
    let fence = claimed_fences(&p.s.db).await;
    let work = error.into_work().expect("the work is still claimed");
    assert_eq!(fence, [work.fence().to_string()]);
    p.proxy.heal().unwrap();
    work.fail(&RETRY, "test").await.unwrap();
    check_ended_once(&p.s.db, "Failed").await;
}
