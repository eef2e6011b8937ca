//! Components of the previous release, which do not know the backoff period, write beside this one.

use crate::scenario::{START, Scenario};
use crate::schema_snapshots::versions;
use bmdb_model::internal::work::{self, Claimed};
use bmdb_model::migration::run_pending;
use bmdb_model::{Provider, backoff};
use bmdb_testkit::TestDb;

/// What the previous release has planned for the only machine.
const PLAN: &str = "INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at)
    SELECT machine_id, 'ShepherdAgentStart', 'shepherd', provider, true, now() FROM machine_provided";

/// What the previous release writes for a claim, a failure and a finish of agent start.
const CLAIM: &str = "UPDATE work_item SET session_id = (SELECT session_id FROM sessions),
    started_at = clock_timestamp(), fence = nextval('work_fence') WHERE process = 'ShepherdAgentStart'";
const FAIL: &str =
    "UPDATE work_item SET session_id = NULL, started_at = NULL, failures = failures + 1,
    losses = 0, backoff_until = clock_timestamp() + interval '1 minute', cause = 'older'
    WHERE process = 'ShepherdAgentStart'";
const FINISH: &str = "UPDATE work_item SET session_id = NULL, started_at = NULL, failures = 0,
    losses = 0, backoff_until = NULL, cause = NULL WHERE process = 'ShepherdAgentStart'";

impl Scenario {
    async fn write_as_before(&self, statements: &[&str]) {
        self.db.run_sql(&statements.join(";\n")).await.unwrap();
    }

    async fn claimed(&mut self) -> Claimed {
        let claimed = work::claim(&mut self.conn, &START, None, self.session, 1).await;
        claimed.unwrap().expect("the session lives").remove(0)
    }
}

#[tokio::test]
async fn a_backoff_from_before_the_migration_restarts_the_sequence() {
    let db = TestDb::at_version("20261122000300").await.unwrap();
    let mut s = Scenario::on(db).await;
    let machine = s.db.machine().provided(&Provider::EQUINIX, "a");
    let machine = machine.create().await.unwrap();
    s.write_as_before(&[PLAN, CLAIM, FAIL]).await;

    assert_eq!(
        run_pending(s.db.connect().await.unwrap()).await.unwrap(),
        versions()[3..]
    );
    let row = backoff::of(&mut s.conn, machine, &START)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (row.cause.as_deref(), row.last_interval_seconds),
        (Some("older"), None)
    );
    s.advance(61).await;
    let claimed = s.claimed().await;
    assert_eq!((claimed.failures, claimed.previous_interval), (1, None));
}

#[tokio::test]
async fn an_older_release_writes_backoffs_without_a_period() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    s.write_as_before(&[CLAIM, FAIL]).await;
    s.advance(61).await;
    let claimed = s.claimed().await;
    assert_eq!((claimed.failures, claimed.previous_interval), (1, None));
}

#[tokio::test]
async fn an_older_finish_does_not_restore_the_interval_before_it() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 40, "no answer").await;
    s.advance(41).await;
    s.write_as_before(&[CLAIM, FINISH]).await;
    let left = "SELECT last_interval_seconds, failures, backoff_until FROM work_item
                WHERE process = 'ShepherdAgentStart'";
    assert_eq!(
        s.rows(left).await,
        ["40|0|"],
        "the older finish knows no period to clear"
    );

    let claimed = s.claimed().await;
    assert_eq!((claimed.failures, claimed.previous_interval), (0, None));
    let attempt = crate::scenario::attempt(&claimed, &START, s.session);
    s.fail(&attempt, 1, "no answer").await;
    let row = backoff::of(&mut s.conn, machine, &START)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(row.last_interval_seconds, Some(1));
}

#[tokio::test]
async fn a_cancel_after_an_older_finish_does_not_restore_the_interval() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 40, "no answer").await;
    s.advance(41).await;
    s.write_as_before(&[CLAIM, FINISH]).await;

    let attempt = s.claim_one(&START).await;
    s.cancel(&attempt).await;
    assert_eq!(s.claimed().await.previous_interval, None);
}
