//! Nothing spins: what finishes without effect rests, and so does what is set aside.

use super::{AGES, Does, Running, once, options};
use crate::scenario::Scenario;
use crate::wait::until;
use bmdb_core::control_loop::{Commit, Failure};
use bmdb_model::Process;
use diesel_async::{AsyncConnection, AsyncPgConnection, SimpleAsyncConnection};
use std::time::Duration;

const START: Process = Process::SHEPHERD_AGENT_START;

/// The number of machines with attempts, and the fewest and most attempts of one.
const PER_MACHINE: &str = "SELECT count(*), min(n), max(n) FROM (
    SELECT sum(repeats + 1) AS n FROM work_attempt GROUP BY machine_id) a";

impl Scenario {
    pub(super) async fn machines(&self, count: u32) {
        let sql = format!(
            "INSERT INTO machines (machine_id)
             SELECT gen_random_uuid() FROM generate_series(1, {count});
             INSERT INTO machine_provided (machine_id, provider, provider_id)
             SELECT machine_id, 'Equinix', row_number() OVER () FROM machines"
        );
        self.db.run_sql(&sql).await.unwrap();
        self.bmdb.replan().await.unwrap();
    }
}

/// Exits with success and changes nothing on these machines, and starts the agent on all others.
fn idle_on(ids: std::ops::RangeInclusive<u32>) -> Does {
    Does::new(move |_, machine| {
        let id: u32 = machine
            .provided
            .as_ref()
            .unwrap()
            .provider_id
            .parse()
            .unwrap();
        let is_idle = ids.contains(&id);
        Box::pin(async move {
            Ok(match is_idle {
                true => Commit::unchanged(),
                false => Commit::agent_started(bmdb_model::AgentStarted::now(b"key")),
            })
        })
    })
}

#[tokio::test]
async fn a_body_that_changes_nothing_starts_thrice_in_a_minute_at_most_and_starves_nobody() {
    let s = Scenario::new().await;
    s.machines(298).await;
    let running = Running::new(&s.bmdb, idle_on(1..=8), options().rate(None));
    running.started(298).await;
    until(&s.db, "count(DISTINCT machine_id) = 298 FROM work_attempt").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let summary = running.stop().await;
    assert_eq!((summary.finished, summary.unproductive), (298, 8));
    for _ in 0..6 {
        s.advance(10).await;
        once(&s.bmdb, idle_on(1..=8)).await.unwrap();
    }
    assert_eq!(s.rows(PER_MACHINE).await, ["298|1|2"]);
    let rests = "SELECT count(*), min(unproductive), bool_and(backoff_until > clock_timestamp())
                 FROM work_item WHERE unproductive > 0";
    assert_eq!(s.rows(rests).await, ["8|2|t"]);
}

#[tokio::test]
async fn a_body_that_writes_its_table_by_sql_only_runs_once() {
    let s = Scenario::new().await;
    s.create_view(
        "CREATE TABLE firmware (machine_id uuid PRIMARY KEY);
         GRANT ALL ON firmware TO PUBLIC;
         CREATE VIEW acme_workflow_flash AS
         SELECT machine_id, provider, NULL::timestamptz AS ready_at FROM machine_provided p
         WHERE NOT EXISTS (SELECT FROM firmware f WHERE f.machine_id = p.machine_id)",
    )
    .await;
    let flash = Process::from_static("Flash");
    let definition = bmdb_model::ProcessDef::new(flash.clone()).workflow("acme_workflow_flash");
    s.owner().await.define_process(&definition).await.unwrap();
    s.machines(9).await;
    let url = s.db.url().to_owned();
    let mut does = Does::new(move |_, machine| {
        let (url, id) = (url.clone(), machine.id);
        Box::pin(async move {
            let mut conn = AsyncPgConnection::establish(&url).await?;
            let insert = format!("INSERT INTO firmware VALUES ('{id}')");
            conn.batch_execute(&insert).await?;
            Ok(Commit::unchanged())
        })
    });
    does.process = flash;
    let running = Running::new(&s.bmdb, does, options());
    until(&s.db, "count(*) >= 9 FROM work_attempt").await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    let summary = running.stop().await;
    assert_eq!((summary.finished, summary.unproductive), (9, 0));
    assert_eq!(s.rows(PER_MACHINE).await, ["9|1|1"]);
}

#[tokio::test]
async fn a_machine_whose_agent_is_lost_at_once_is_started_thrice() {
    let s = Scenario::new().await;
    s.machines(3).await;
    for _ in 0..6 {
        once(&s.bmdb, idle_on(0..=0)).await.unwrap();
        s.db.run_sql("DELETE FROM machine_agent_started")
            .await
            .unwrap();
        s.bmdb.replan().await.unwrap();
        s.advance(9).await;
    }
    assert_eq!(s.rows(PER_MACHINE).await, ["3|3|3"]);
    let flaps = "SELECT DISTINCT flapping, cause FROM work_item WHERE flapping >= 2";
    let cause = "finished 3 times, each time within 60 s of the one before";
    assert_eq!(s.rows(flaps).await, [format!("2|{cause}")]);
}

#[tokio::test]
async fn a_snoozed_machine_rests_for_the_given_time() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let does = || Does::new(|_, _| Box::pin(async { Err(Failure::snooze(AGES)) }));
    let summary = once(&s.bmdb, does()).await.unwrap();
    assert_eq!(
        (summary.claimed, summary.canceled, summary.failed),
        (1, 1, 0)
    );
    assert_eq!(s.attempts().await, ["Canceled|snoozed|"]);
    let rest = s.backoff(machine, &START).await.unwrap();
    assert_eq!(
        (rest.cause.as_deref(), rest.last_interval_seconds),
        (Some("snoozed"), None)
    );
    s.advance(3595).await;
    assert_eq!(once(&s.bmdb, does()).await.unwrap().claimed, 0);
    s.advance(6).await;
    assert_eq!(once(&s.bmdb, does()).await.unwrap().claimed, 1);
}

#[tokio::test]
async fn a_process_that_is_put_on_hold_leaves_the_machine_to_others() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let does = || Does::new(|_, _| Box::pin(async { Err(Failure::hold_process("no BMC")) }));
    let log = does().log;
    let summary = once(&s.bmdb, does()).await.unwrap();
    drop(log);
    assert_eq!((summary.failed, summary.put_on_hold), (1, 1));
    assert_eq!(s.attempts().await, ["Failed|no BMC|1"]);
    assert_eq!(s.rows("SELECT * FROM machine_hold").await, [""; 0]);
    s.advance(60).await;
    s.bmdb.replan().await.unwrap();
    assert_eq!(once(&s.bmdb, does()).await.unwrap().claimed, 0);
    let access = Process::SHEPHERD_ACCESS;
    crate::scenario::work_and_give_back(&s.session, &access, machine).await;

    let ann = bmdb_core::operator::Operator::new("ann");
    let released = ann.release_process_hold(&s.session, machine, &START).await;
    assert!(released.unwrap());
    assert_eq!(once(&s.bmdb, does()).await.unwrap().claimed, 1);
    let verbs = "SELECT verb, process, details->>'held because' FROM operator_action";
    assert_eq!(
        s.rows(verbs).await,
        ["ReleaseProcess|ShepherdAgentStart|no BMC"]
    );
    let again = ann.clone().reason("a new BMC is ordered");
    again
        .hold_process(&s.session, machine, &START)
        .await
        .unwrap();
    let reasons = "SELECT hold_reason FROM work_item WHERE process = 'ShepherdAgentStart'";
    assert_eq!(s.rows(reasons).await, ["a new BMC is ordered"]);
}

#[tokio::test]
async fn a_paused_provider_stops_the_process_and_no_machine_counts_a_failure() {
    let s = Scenario::new().await;
    s.machines(5).await;
    let does = || {
        Does::new(|_, _| {
            Box::pin(async { Err(Failure::pause_provider(Duration::from_secs(300), "429")) })
        })
    };
    let summary = once(&s.bmdb, does()).await.unwrap();
    assert_eq!((summary.failed, summary.canceled), (0, summary.claimed));
    let pauses = "SELECT process, provider, source, paused_by, reason FROM process_pause";
    assert_eq!(
        s.rows(pauses).await,
        ["ShepherdAgentStart|Equinix|Attempt|test|429"]
    );
    assert_eq!(once(&s.bmdb, does()).await.unwrap().claimed, 0);
    let failures = "SELECT sum(failures) FROM work_item";
    assert_eq!(s.rows(failures).await, ["0"]);
    s.advance(301).await;
    assert!(once(&s.bmdb, does()).await.unwrap().claimed > 0);
}

#[tokio::test]
async fn canceled_machines_keep_no_slot() {
    let s = Scenario::new().await;
    s.machines(20).await;
    let does = Does::new(|_, _| Box::pin(async { Err(Failure::cancel()) }));
    let running = Running::new(&s.bmdb, does, options().parallelism(1).batch(1).rate(None));
    until(&s.db, "count(DISTINCT machine_id) = 20 FROM work_attempt").await;
    until(&s.db, "NOT EXISTS (SELECT FROM work)").await;
    assert_eq!(running.stop().await.canceled, 20);
    let rests = "SELECT count(*), bool_and(backoff_until - clock_timestamp() < interval '11 s')
                 FROM work_item WHERE backoff_until > clock_timestamp()";
    assert_eq!(s.rows(rests).await, ["20|t"]);
}
