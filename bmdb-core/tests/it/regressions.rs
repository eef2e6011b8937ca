//! Regressions: defects of the earlier system, each with a short post-mortem.

use crate::scenario::{RETRY, Scenario, connect, owner, work_access, work_on};
use bmdb_backoff::{Backoff, Jitter, Seconds};
use bmdb_core::{Claim, Session, SessionOptions, TxError, WorkError};
use bmdb_model::migration::known;
use bmdb_model::{AgentStarted, Process, Provider};
use bmdb_testkit::TestDb;
use std::time::Duration;

const ACCESS: Process = Process::SHEPHERD_ACCESS;
const START: Process = Process::SHEPHERD_AGENT_START;

impl Scenario {
    /// The session dies, and the janitor finds it.
    async fn die(&self, session: &Session) {
        self.db.expire(session.id()).await.unwrap();
        let losses = self.bmdb.reclaim_expired().await.unwrap();
        assert_eq!(losses.sessions, [session.id()]);
    }
}

// Rows of a dead session were never deleted, so its machines stayed locked for ever. The janitor
// reclaims them, with a history row and a delay.
#[tokio::test]
async fn work_of_a_dead_session_is_reclaimed() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let (dead, _work) = (&s.session, s.claim_one().await);
    s.die(dead).await;
    let rival = s.another_session().await;
    assert!(
        rival.claim(&Claim::of(&START)).await.unwrap().is_empty(),
        "the loss delay"
    );
    s.advance(16).await;
    let claimed = rival.claim(&Claim::of(&START)).await.unwrap();
    assert_eq!(claimed.len(), 1);
    let attempts = "SELECT session_id, outcome, interval_seconds FROM work_attempt";
    assert_eq!(
        s.rows(attempts).await,
        [format!("{}|Expired|15", dead.id())]
    );
}

// The delay after a loss doubles with each further loss, so a machine that kills its workers does not
// kill one every few seconds. Any other end resets the count.
#[tokio::test]
async fn the_delay_doubles_with_each_loss_in_a_row() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let delays =
        "SELECT interval_seconds FROM work_attempt WHERE outcome = 'Expired' ORDER BY fence";
    for _ in 0..3 {
        let session = s.another_session().await;
        let _work = session.claim(&Claim::of(&START)).await.unwrap().remove(0);
        s.die(&session).await;
        s.advance(3600).await;
    }
    assert_eq!(s.rows(delays).await, ["15", "30", "60"]);
    s.claim_one().await.cancel().await.unwrap();
    let _work = s.claim_one().await;
    s.die(&s.session).await;
    assert_eq!(s.rows(delays).await, ["15", "30", "60", "15"]);
}

// A Finish whose transaction failed forgot its lock in memory and kept it in the database, so the
// machine could not be claimed while that session lived. The error gives the work back now.
#[tokio::test]
async fn a_failed_finish_does_not_leak_the_lock() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = work_on(&s.session, &ACCESS, machine).await.unwrap();
    let failed = work
        .finish(async |_| Err::<(), _>(TxError::abort("disk full")))
        .await;
    drop(failed);
    crate::wait::until(&s.db, "NOT EXISTS (SELECT FROM work)").await;
    let rival = s.another_session().await;
    let work = work_on(&rival, &ACCESS, machine).await.unwrap();
    work.cancel().await.unwrap();
}

// The heartbeat's test of the deadline was inverted, and it moved the deadline after failures too, so
// an expired session came back to life. A late heartbeat changes nothing now.
#[tokio::test]
async fn a_late_heartbeat_revives_nothing() {
    let s = Scenario::new().await;
    let options = SessionOptions::default().interval(Duration::from_secs(1));
    let session = s.bmdb.start_session(options).await.unwrap();
    s.db.expire(session.id()).await.unwrap();
    // When the loss is known, the heartbeat that found it has been sent.
    let lost = tokio::time::timeout(Duration::from_secs(2), session.lost());
    lost.await.expect("the loss is found");
    let alive = "SELECT session_id FROM sessions WHERE session_deadline > clock_timestamp()";
    assert_eq!(s.rows(alive).await, [s.session.id().to_string()]);
    s.die(&session).await;
}

// A worker that had lost its session deleted no lock when it finished, but committed its tags, over the
// work of its successor. Nothing of such a finish is committed now.
#[tokio::test]
async fn a_zombies_finish_commits_nothing() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let zombie = s.claim_one().await;
    s.die(&s.session).await;
    s.advance(16).await;
    let rival = s.another_session().await;
    let successor = rival.claim(&Claim::of(&START)).await.unwrap().remove(0);

    let (late, agent) = (
        AgentStarted::now(b"zombie"),
        AgentStarted::now(b"successor"),
    );
    let refused = zombie
        .finish(async |tx| tx.set_agent_started(machine, &late).await)
        .await;
    assert!(matches!(
        refused.unwrap_err().reason(),
        TxError::SessionExpired
    ));
    successor
        .finish(async |tx| tx.set_agent_started(machine, &agent).await)
        .await
        .unwrap();
    let keys = "SELECT convert_from(agent_public_key, 'UTF8') FROM machine_agent_started";
    assert_eq!(s.rows(keys).await, ["successor"]);
    let outcomes = "SELECT outcome FROM work_attempt ORDER BY fence";
    assert_eq!(s.rows(outcomes).await, ["Expired", "Finished"]);
}

// Work was identified by machine, process and session only, so a session's older claim could end its
// newer one. Every claim has its own fence now, and every end must name it.
#[tokio::test]
async fn a_sessions_older_work_does_not_end_its_newer_one() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let older = s.claim_one().await;
    let free = "UPDATE work_item SET session_id = NULL, started_at = NULL";
    s.db.run_sql(free).await.unwrap();
    let newer = s.claim_one().await;
    let refused = older.finish(async |_| Ok(())).await.unwrap_err();
    assert!(matches!(refused.reason(), TxError::WorkLost), "{refused:?}");
    let fences = s
        .rows("SELECT fence FROM work_item WHERE session_id IS NOT NULL")
        .await;
    assert_eq!(fences, [newer.fence().to_string()]);
    newer.complete().await.unwrap();
}

// All machines of a rack that failed at the same time were retried at the same time, for ever. A
// policy's jitter spreads the delays now; the interval that is stored and grows has no jitter.
#[tokio::test]
async fn jitter_spreads_the_delays_and_does_not_change_the_intervals() {
    let s = Scenario::new().await;
    for id in 0..12 {
        s.provided(&id.to_string()).await;
    }
    let minute = Backoff::fixed(Seconds::new(60).unwrap()).with_jitter(Jitter::Full);
    for work in s.session.claim(&Claim::of(&START).limit(12)).await.unwrap() {
        assert_eq!(
            work.fail(&minute, "no answer")
                .await
                .unwrap()
                .interval
                .get(),
            60
        );
    }
    let spread = "SELECT min(until - now()) > '-1 s', max(until - now()) <= '60 s',
                  count(DISTINCT date_trunc('second', until)) > 6, min(last_interval_seconds),
                  max(last_interval_seconds) FROM work_backoff";
    assert_eq!(s.rows(spread).await, ["t|t|t|60|60"]);
}

// Polling an empty queue was reported as an error and rolled back, so the metrics of an idle fleet
// showed only failed transactions. An empty answer is committed now.
#[tokio::test]
async fn an_idle_poll_is_not_a_failure() {
    let s = Scenario::new().await;
    for _ in 0..5 {
        assert!(
            s.session
                .claim(&Claim::of(&START))
                .await
                .unwrap()
                .is_empty()
        );
        assert!(matches!(
            work_access(&s.session).await,
            Err(WorkError::NothingToDo)
        ));
    }
    let Scenario { db, bmdb, session } = s;
    session.close().await.unwrap();
    drop(bmdb);
    // Server processes report their statistics when they end at the latest.
    let others = "SELECT FROM pg_stat_activity WHERE datname = current_database()
                  AND pid <> pg_backend_pid()";
    crate::wait::until(&db, &format!("NOT EXISTS ({others})")).await;
    let failed = "SELECT xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(db.rows(failed).await.unwrap(), ["0"]);
}

// The history named no session and had a row for every failure, so a machine that failed for weeks
// filled the table. A failure like the one before is folded into its row now.
#[tokio::test]
async fn history_names_the_session_and_stays_short() {
    let s = Scenario::new().await;
    s.provided("a").await;
    for seconds in [1, 2, 4, 5, 5, 5, 5, 5] {
        s.claim_one().await.fail(&RETRY, "no answer").await.unwrap();
        s.advance(seconds + 1).await;
    }
    let rows = "SELECT session_id, interval_seconds, repeats FROM work_attempt ORDER BY fence";
    let row = |facts: &str| format!("{}|{facts}", s.session.id());
    assert_eq!(
        s.rows(rows).await,
        [row("1|0"), row("2|0"), row("4|0"), row("5|4")]
    );
}

// A column was added NOT NULL and without a default, and every component of the previous release failed
// on its next write. The interval of a backoff is nullable: without one the sequence restarts.
#[tokio::test]
async fn a_backoff_of_the_previous_release_restarts_the_sequence() {
    let db = TestDb::at_version("20261122000300").await.unwrap();
    let provided = db.machine().provided(&Provider::EQUINIX, "a");
    let machine = provided.create().await.unwrap();
    // As that release planned it.
    db.run_sql(
        "INSERT INTO work_item (machine_id, process, lane, provider, eligible, plan_at, backoff_until, cause,
                                failures, fence)
         SELECT machine_id, 'ShepherdAgentStart', 'shepherd', provider, true, now(), now(), 'older',
                3, nextval('work_fence')
         FROM machine_provided",
    )
    .await
    .unwrap();
    let bmdb = connect(&db).await;
    let known: Vec<String> = known().into_iter().map(|(version, _)| version).collect();
    assert_eq!(owner(&db).await.migrate().await.unwrap(), known[3..]);
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let s = Scenario { db, bmdb, session };
    for expected in [1, 2] {
        let work = s.claim_one().await;
        assert_eq!(work.machine(), machine);
        let failed = work.fail(&RETRY, "no answer").await.unwrap();
        assert_eq!(failed.interval.get(), expected);
        s.advance(u64::from(expected) + 1).await;
    }
}

// Eligibility was defined once for claims and once for counts, and the two diverged. It is defined in
// the workflow's view only, so the live list agrees with the work items.
#[tokio::test]
async fn the_live_list_is_what_can_be_claimed() {
    let s = Scenario::new().await;
    let machine = |id| s.db.machine().provided(&Provider::EQUINIX, id).planned();
    let installing = |id| machine(id).os_installation_request(2, b"r");
    machine("plain").create().await.unwrap();
    installing("requested").create().await.unwrap();
    installing("older")
        .os_installation_report(1, "Success")
        .create()
        .await
        .unwrap();
    installing("failed")
        .os_installation_report(2, "Error")
        .create()
        .await
        .unwrap();
    installing("installed")
        .os_installation_report(2, "Success")
        .create()
        .await
        .unwrap();
    machine("started")
        .agent_started(Duration::from_secs(1))
        .create()
        .await
        .unwrap();
    machine("on hold").hold("disk").create().await.unwrap();

    let mut listed = s.listed(&START).await;
    listed.sort();
    let claimed = s
        .session
        .claim(&Claim::of(&START).limit(100))
        .await
        .unwrap();
    assert_eq!(
        claimed
            .iter()
            .map(|work| work.machine())
            .collect::<Vec<_>>(),
        listed
    );
    assert_eq!(listed.len(), 4);
}
