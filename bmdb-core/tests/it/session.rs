//! Sessions: usable while their heartbeats succeed, lost when they fail, and without remains.

use crate::scenario::{Scenario, connect, owner, work_and_give_back, work_on};
use crate::wait::until;
use bmdb_core::{Bmdb, Config, SessionError, SessionOptions, SessionState, TxError};
use bmdb_model::Process;
use bmdb_model::migration::MigrationError;
use bmdb_testkit::TestDb;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const ACCESS: Process = Process::SHEPHERD_ACCESS;

impl Scenario {
    /// A session with the shortest possible lease.
    async fn short_session(&self) -> bmdb_core::Session {
        let options = SessionOptions::default().interval(SECOND);
        self.bmdb.start_session(options).await.unwrap()
    }
}

#[tokio::test]
async fn a_transaction_in_a_new_session_commits() {
    let s = Scenario::new().await;
    let answer = s.session.transact(async |_| Ok(42)).await.unwrap();
    assert_eq!(answer, 42);
    assert_eq!(s.session.state(), SessionState::Live);
    let row = "SELECT session_id, session_component_name, session_interval_seconds,
               session_deadline > clock_timestamp() FROM sessions";
    assert_eq!(s.rows(row).await, [format!("{}|test|5|t", s.session.id())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_commits_after_the_interval_while_heartbeats_succeed() {
    let s = Scenario::new().await;
    let session = s.short_session().await;
    tokio::time::sleep(SECOND + SECOND / 2).await;
    session.transact(async |_| Ok(())).await.unwrap();
    assert_eq!(session.state(), SessionState::Live);
}

#[tokio::test]
async fn a_transaction_fails_once_the_heartbeats_have_stopped() {
    let s = Scenario::new().await;
    s.db.expire(s.session.id()).await.unwrap();
    let refused = s.session.transact(async |_| Ok(())).await;
    assert!(
        matches!(refused, Err(TxError::SessionExpired)),
        "{refused:?}"
    );
    assert_eq!(s.session.state(), SessionState::Lost);
    s.another_session()
        .await
        .transact(async |_| Ok(()))
        .await
        .unwrap();
}

#[tokio::test]
async fn lost_of_a_session_and_of_its_work_resolves() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let session = s.short_session().await;
    let work = work_on(&session, &ACCESS, machine).await.unwrap();
    s.db.expire(session.id()).await.unwrap();
    let reported = async { tokio::join!(session.lost(), work.lost()) };
    tokio::time::timeout(SECOND, reported)
        .await
        .expect("the next heartbeat finds out");
    assert_eq!(session.state(), SessionState::Lost);
}

#[tokio::test]
async fn closing_cancels_claimed_work_and_removes_the_session() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let (session, rival) = (s.another_session().await, &s.session);
    let work = work_on(&session, &ACCESS, machine).await.unwrap();
    let id = session.id();
    session.close().await.unwrap();
    assert_eq!(s.rows("SELECT * FROM work").await, [""; 0]);
    assert_eq!(
        s.rows("SELECT session_id FROM sessions").await,
        [rival.id().to_string()]
    );
    let attempts = "SELECT session_id, outcome FROM work_attempt";
    assert_eq!(s.rows(attempts).await, [format!("{id}|Canceled")]);

    let late = work.cancel().await.unwrap_err();
    assert!(matches!(late.reason(), TxError::SessionExpired), "{late}");
    work_and_give_back(rival, &ACCESS, machine).await;
}

#[tokio::test]
async fn closing_an_expired_session_is_an_error() {
    let s = Scenario::new().await;
    let session = s.another_session().await;
    s.db.expire(session.id()).await.unwrap();
    s.bmdb.reclaim_expired().await.unwrap();
    let refused = session.close().await;
    assert!(
        matches!(refused, Err(TxError::SessionExpired)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_dropped_session_is_closed_in_the_background() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let session = s.another_session().await;
    let work = work_on(&session, &ACCESS, machine).await.unwrap();
    drop((work, session));
    until(&s.db, "count(*) = 1 FROM sessions").await;
    assert_eq!(
        s.rows("SELECT outcome FROM work_attempt").await,
        ["Canceled"]
    );
}

#[tokio::test]
async fn no_session_starts_on_a_database_that_is_not_migrated() {
    let db = TestDb::empty().await.unwrap();
    let bmdb = connect(&db).await;
    let refused = bmdb.start_session(SessionOptions::default()).await;
    assert!(
        matches!(
            refused,
            Err(SessionError::Migration(
                MigrationError::DatabaseTooOld { .. }
            ))
        ),
        "{refused:?}"
    );
    let all = bmdb_model::migration::known().len();
    assert_eq!(owner(&db).await.migrate().await.unwrap().len(), all);
    assert_eq!(bmdb.migrate().await.unwrap().len(), 0);
    bmdb.start_session(SessionOptions::default()).await.unwrap();
}

#[tokio::test]
async fn unusable_options_are_refused() {
    let s = Scenario::new().await;
    // A unit test covers the validation itself.
    let invalid = SessionOptions::default().interval(SECOND / 2);
    let refused = s.bmdb.start_session(invalid).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "session options: an interval of 500ms is not 1 to 86400 whole seconds"
    );
    assert_eq!(
        s.rows("SELECT session_id FROM sessions").await,
        [s.session.id().to_string()]
    );
}

#[tokio::test]
async fn the_labels_of_a_session_may_hold_any_text() {
    let db = TestDb::new().await.unwrap();
    let config = Config::new(db.url())
        .component("a b; --")
        .runtime_info("'\"\\");
    let bmdb = Bmdb::connect(config.janitor_interval(None)).await.unwrap();
    let _session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let labels = "SELECT session_component_name, session_runtime_info FROM sessions";
    assert_eq!(db.rows(labels).await.unwrap(), ["a b; --|'\"\\"]);
}
