//! Reclaiming the work of expired sessions: it is freed, recorded, counted and delayed.

use crate::scenario::{ACCESS, MINUTE, START, Scenario};
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::work::{self, Attempt};
use bmdb_model::internal::{connection, reclaim, session};
use bmdb_model::reclaim::{LostAttempt, LostItem};
use bmdb_model::{ProcessDef, SessionId};

const ITEM: &str = "SELECT session_id, started_at, losses, failures, last_interval_seconds, cause,
    round(extract(epoch FROM backoff_until - clock_timestamp())) FROM work_item";
const ATTEMPTS: &str = "SELECT outcome, cause, interval_seconds, started_at < ended_at,
    ended_at <= clock_timestamp() FROM work_attempt WHERE outcome = 'Expired' ORDER BY fence";

impl Scenario {
    /// Expires the session, and reclaims its work with this delay as the janitor does.
    pub(crate) async fn lose(&mut self, seconds: i64) -> (Vec<LostItem>, Vec<LostAttempt>) {
        self.db.expire(self.session).await.unwrap();
        let conn = &mut self.conn;
        connection::begin(conn, Isolation::ReadCommitted, Access::ReadWrite)
            .await
            .unwrap();
        let expired = session::lock_expired(conn, 10).await.unwrap();
        assert_eq!(expired, [self.session]);
        let items = reclaim::lock_items(conn, &expired, 100).await.unwrap();
        let delayed: Vec<_> = items.iter().cloned().map(|item| (item, seconds)).collect();
        let attempts = reclaim::expire(conn, &delayed, &expired).await.unwrap();
        assert_eq!(session::delete(conn, &expired).await.unwrap(), 1);
        connection::commit(conn).await.unwrap();
        self.session = self.another_session().await;
        (items, attempts)
    }
}

/// Checks that an attempt is the only expired one, with these losses and the default delays.
fn check_only(items: &[LostItem], attempt: &Attempt, losses: i64) {
    let [item] = items else {
        panic!("{items:?}");
    };
    assert_eq!(
        (item.machine, &item.process, item.session, item.fence),
        (
            attempt.machine,
            &attempt.process,
            attempt.session,
            attempt.fence
        )
    );
    let delays = (item.loss_initial_seconds, item.loss_maximum_seconds);
    assert_eq!((item.losses, delays), (losses, (15, 3600)));
}

#[tokio::test]
async fn reclaimed_work_is_freed_counted_delayed_and_recorded() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    let (items, attempts) = s.lose(15).await;
    check_only(&items, &attempt, 0);
    let [lost] = attempts.as_slice() else {
        panic!("{attempts:?}");
    };
    assert_eq!(
        (lost.machine, &lost.process, lost.fence, lost.session),
        (attempt.machine, &START, attempt.fence, attempt.session)
    );
    assert_eq!(lost.delay_seconds, Some(15));
    assert_eq!(s.rows(ITEM).await, ["||1|0|||15"]);
    assert_eq!(
        s.rows(ATTEMPTS).await,
        ["Expired|the session expired|15|t|t"]
    );
    assert_eq!(s.claim(&START).await, []);
    s.advance(16).await;
    assert_eq!(s.claim_one(&START).await.machine, attempt.machine);
}

#[tokio::test]
async fn expired_attempts_in_a_row_are_counted_until_any_other_end() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    for losses in 0..3 {
        let attempt = s.claim_one(&START).await;
        check_only(&s.lose(15).await.0, &attempt, losses);
        s.advance(16).await;
    }
    for end in ["fail", "cancel", "finish"] {
        let attempt = s.claim_one(&START).await;
        match end {
            "fail" => s.fail(&attempt, 1, "no answer").await,
            "cancel" => s.cancel(&attempt).await,
            _ => s.finish(&attempt).await,
        }
        s.advance(60).await;
        let attempt = s.claim_one(&START).await;
        check_only(&s.lose(15).await.0, &attempt, 0);
        s.advance(16).await;
    }
}

#[tokio::test]
async fn an_expired_attempt_does_not_change_the_sequence_of_failures() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 4, "no answer").await;
    s.advance(5).await;
    s.claim_one(&START).await;
    s.lose(15).await;
    assert_eq!(s.rows(ITEM).await, ["||1|1|4|no answer|15"]);
    s.advance(16).await;
    let claimed = work::claim(&mut s.conn, &START, None, s.session, 1)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (claimed[0].failures, claimed[0].previous_interval),
        (1, Some(4))
    );
}

#[tokio::test]
async fn an_expired_attempt_after_an_older_finish_does_not_restore_the_interval() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let older = "UPDATE work_item SET last_interval_seconds = 40, backoff_until = NULL";
    s.db.run_sql(older).await.unwrap();
    s.claim_one(&START).await;
    s.lose(15).await;
    assert_eq!(s.rows(ITEM).await, ["||1|0|||15"]);
}

#[tokio::test]
async fn a_longer_backoff_in_force_is_not_shortened() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 600, "no answer").await;
    let claim = format!(
        "UPDATE work_item SET session_id = '{}', started_at = clock_timestamp(),
             fence = nextval('work_fence') WHERE machine_id = '{machine}'",
        s.session
    );
    s.db.run_sql(&claim).await.unwrap();
    s.lose(15).await;
    assert_eq!(s.rows(ITEM).await, ["||1|1|600|no answer|600"]);
    assert_eq!(
        s.rows(ATTEMPTS).await,
        ["Expired|the session expired|15|t|t"]
    );
}

#[tokio::test]
async fn the_delay_after_an_expired_attempt_is_that_of_the_process() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.define(&ProcessDef::new(ACCESS).loss_delay(2, 8))
        .await
        .unwrap();
    s.claim_machine(machine, &ACCESS).await;
    let (items, _) = s.lose(2).await;
    assert_eq!(
        (items[0].loss_initial_seconds, items[0].loss_maximum_seconds),
        (2, 8)
    );
}

#[tokio::test]
async fn a_session_whose_deadline_lies_ahead_is_never_touched() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    s.claim_one(&START).await;
    s.db.session(MINUTE / 60).await.unwrap();
    assert_eq!(session::lock_expired(&mut s.conn, 10).await.unwrap(), []);
}

#[tokio::test]
async fn expired_sessions_are_locked_up_to_the_limit_without_those_locked_by_others() {
    let mut s = Scenario::new().await;
    let mut expired = Vec::new();
    for _ in 0..3 {
        let session = s.another_session().await;
        s.db.expire(session).await.unwrap();
        expired.push(session);
    }
    let mut rival = s.db.connect().await.unwrap();
    connection::begin(&mut rival, Isolation::ReadCommitted, Access::ReadWrite)
        .await
        .unwrap();
    let mut locked: Vec<SessionId> = session::lock_expired(&mut rival, 2).await.unwrap();
    assert_eq!(locked.len(), 2);
    locked.extend(session::lock_expired(&mut s.conn, 10).await.unwrap());
    locked.sort();
    expired.sort();
    assert_eq!(locked, expired);
}

#[tokio::test]
async fn a_late_heartbeat_does_not_revive_a_session() {
    let mut s = Scenario::new().await;
    let alive = s.another_session().await;
    s.db.expire(s.session).await.unwrap();
    let deadline = "SELECT session_deadline < clock_timestamp() FROM sessions ORDER BY 1";
    let beat = session::heartbeat(&mut s.conn, &[s.session, alive])
        .await
        .unwrap();
    assert_eq!(beat, [alive]);
    assert_eq!(s.rows(deadline).await, ["f", "t"]);
    assert!(!session::fence_check(&mut s.conn, s.session).await.unwrap());
    assert!(!session::is_alive(&mut s.conn, s.session).await.unwrap());
}
