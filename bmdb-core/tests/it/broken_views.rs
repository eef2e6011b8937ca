//! A workflow that fails for a machine harms its own process on that machine, and nothing else.
//!
//! Verified without the second, careful run in `db/transaction.rs`: then the tests that write a machine fail
//! with "division by zero".

use crate::scenario::{Scenario, work_on};
use bmdb_core::operator::Operator;
use bmdb_core::operator::Tag;
use bmdb_core::{Bmdb, Claim, Config, MaintenanceBatch, SessionOptions, Tx, TxError};
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::{connection, plan as planner};
use bmdb_model::plan::{self, PlanFailure};
use bmdb_model::{
    AgentStarted, MachineId, Process, ProcessDef, Provided, Provider, TagWrites, machine,
};
use bmdb_testkit::TestDb;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

const SCRUB: Process = Process::from_static("AcmeScrub");
const START: Process = Process::SHEPHERD_AGENT_START;
const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

/// A machine is due since a time that cannot be computed for a load of zero, and not soon for -1.
const ACME: &str = "
    CREATE TABLE acme_load (machine_id uuid PRIMARY KEY REFERENCES machines, load integer NOT NULL);
    CREATE FUNCTION acme_slow(load integer) RETURNS integer LANGUAGE plpgsql AS $$ BEGIN
        IF load = -1 THEN PERFORM pg_sleep(60); END IF;
        RETURN load;
    END $$;
    CREATE VIEW acme_workflow_scrub AS
        SELECT machine_id, provider, now() - (100 / acme_slow(load)) * interval '1 s' AS ready_at
        FROM machine_provided JOIN acme_load USING (machine_id)";

struct Acme {
    s: Scenario,
}

impl Acme {
    async fn new() -> Self {
        Self::defined_by(|definition| definition).await
    }

    /// Its process replans on claim.
    async fn driven_by_time() -> Self {
        Self::defined_by(|mut definition| {
            definition.replan_on_claim = true;
            definition
        })
        .await
    }

    async fn defined_by(change: impl FnOnce(ProcessDef) -> ProcessDef) -> Self {
        let s = Scenario::new().await;
        s.create_view(ACME).await;
        let definition = change(ProcessDef::new(SCRUB).workflow("acme_workflow_scrub"));
        s.owner().await.define_process(&definition).await.unwrap();
        Self { s }
    }

    /// A planned machine with this load.
    async fn machine(&self, provider_id: &str, load: i32) -> MachineId {
        let machine = self.s.provided(provider_id).await;
        self.load(machine, load).await;
        machine
    }

    /// Sets the load by SQL, as a program does that knows nothing of planning.
    async fn load(&self, machine: MachineId, load: i32) {
        let sql = format!(
            "INSERT INTO acme_load VALUES ('{machine}', {load})
             ON CONFLICT (machine_id) DO UPDATE SET load = excluded.load"
        );
        self.s.db.run_sql(&sql).await.unwrap();
    }

    async fn failures(&self) -> Vec<PlanFailure> {
        failures(&self.s.db).await
    }

    async fn items(&self, machine: MachineId) -> Vec<String> {
        let sql = format!(
            "SELECT process, eligible FROM work_item WHERE machine_id = '{machine}' ORDER BY process"
        );
        self.s.rows(&sql).await
    }
}

async fn failures(db: &TestDb) -> Vec<PlanFailure> {
    let mut conn = db.connect().await.unwrap();
    plan::failures(&mut conn).await.unwrap()
}

fn noted(failures: &[PlanFailure]) -> (&Process, &str, MachineId, &str) {
    let [PlanFailure { broken, .. }] = failures else {
        panic!("one failure: {failures:?}");
    };
    let (workflow, error) = (&*broken.workflow, &*broken.error);
    (&broken.process, workflow, broken.machine, error)
}

#[tokio::test]
async fn tags_holds_releases_ends_and_replans_go_on_where_a_view_divides_by_zero() {
    let acme = Acme::new().await;
    let s = &acme.s;
    let bad = acme.machine("bad", 1).await;
    let ann = Operator::new("ann").reason("test");
    s.bmdb.replan().await.unwrap();
    assert_eq!(
        acme.items(bad).await,
        ["AcmeScrub|t", "ShepherdAgentStart|t"]
    );
    acme.load(bad, 0).await;

    let started = AgentStarted::now(b"key");
    ann.set_tag(&s.session, bad, &Tag::AgentStarted(started))
        .await
        .unwrap();
    // The failing workflow's item stays as it was.
    let planned = ["AcmeScrub|t", "ShepherdAgentStart|f", "ShepherdRecovery|t"];
    assert_eq!(acme.items(bad).await, planned);
    let view = "acme_workflow_scrub";
    assert_eq!(
        noted(&acme.failures().await),
        (&SCRUB, view, bad, "division by zero")
    );
    ann.hold(&s.session, bad).await.unwrap();
    assert!(
        s.session
            .claim(&Claim::of(&SCRUB))
            .await
            .unwrap()
            .is_empty()
    );
    assert!(ann.release_hold(&s.session, bad).await.unwrap());
    let work = work_on(&s.session, &RECOVERY, bad).await.unwrap();
    work.finish(async |tx| {
        tx.set_provided(bad, &Provided::new(Provider::LUMEN, "x"))
            .await
    })
    .await
    .unwrap();
    assert_eq!(s.bmdb.replan().await.unwrap(), 1);
    let others = s.provided("good").await;
    assert_eq!(acme.items(others).await, ["ShepherdAgentStart|t"]);

    let turn = s.bmdb.janitor_turn().await.unwrap();
    let broken = turn.batches.iter().find_map(|batch| match batch {
        MaintenanceBatch::Planned { broken, .. } => Some(broken.clone()),
        _ => None,
    });
    assert_eq!(
        broken.unwrap()[0].to_string(),
        format!(
            "AcmeScrub is not plannable: its workflow {view} fails for machine {bad}: division by zero"
        )
    );
    ann.delete_machine(&s.session, others).await.unwrap();
}

#[tokio::test]
async fn finishes_with_tags_are_recorded_where_a_view_divides_by_zero() {
    let acme = Acme::new().await;
    let s = &acme.s;
    let (bad, good) = (acme.machine("bad", 1).await, acme.machine("good", 1).await);
    s.bmdb.replan().await.unwrap();
    let claim = Claim::of(&START).provider(&Provider::EQUINIX).limit(2);
    let claimed = s.session.claim(&claim).await.unwrap();
    assert_eq!(claimed.len(), 2);
    acme.load(bad, 0).await;
    let started = TagWrites::new().agent_started(AgentStarted::now(b"key"));
    let tagged = claimed.into_iter().map(|work| (work, started.clone()));
    let ended = s.session.finish_all(tagged).await;
    assert!(ended.iter().all(Result::is_ok), "{ended:?}");
    // The failing workflow's item stays as it was.
    let planned = ["AcmeScrub|t", "ShepherdAgentStart|f", "ShepherdRecovery|t"];
    for machine in [bad, good] {
        assert_eq!(acme.items(machine).await, planned);
    }
    let failures = acme.failures().await;
    assert_eq!(noted(&failures).2, bad);
    // The process of the failing view is finished too.
    let work = work_on(&s.session, &SCRUB, bad).await.unwrap();
    let report = TagWrites::new().hardware_report(b"16 cores");
    work.complete_with(report).await.unwrap();
    let outcomes = s.rows("SELECT outcome FROM work_attempt").await;
    assert_eq!(outcomes, ["Finished"; 3]);
    let reports = s.rows("SELECT 1 FROM machine_hardware_report").await;
    assert_eq!(reports.len(), 1);
}

#[tokio::test]
async fn a_view_that_lists_a_machine_twice_keeps_no_finish_from_being_recorded_once() {
    let s = Scenario::new().await;
    s.create_view(
        "CREATE VIEW acme_workflow_scrub AS
         SELECT machine_id, provider, NULL::timestamptz AS ready_at FROM machine_provided, (VALUES (1), (2)) v",
    )
    .await;
    let twice = ProcessDef::new(SCRUB).workflow("acme_workflow_scrub");
    s.owner().await.define_process(&twice).await.unwrap();
    let machine = s.provided("1").await;
    let work = work_on(&s.session, &START, machine).await.unwrap();
    let started = TagWrites::new().agent_started(AgentStarted::now(b"key"));
    work.complete_with(started).await.unwrap();
    // A component that has not met the view: its finish is in the statement that plans.
    let bmdb = crate::scenario::connect(&s.db).await;
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let work = work_on(&session, &SCRUB, machine).await.unwrap();
    let report = TagWrites::new().hardware_report(b"16 cores");
    work.complete_with(report).await.unwrap();
    let attempts = "SELECT process, outcome FROM work_attempt ORDER BY fence";
    let once = ["ShepherdAgentStart|Finished", "AcmeScrub|Finished"];
    assert_eq!(s.rows(attempts).await, once);
    let due = "SELECT process FROM work_item WHERE eligible OR session_id IS NOT NULL ORDER BY 1";
    assert_eq!(s.rows(due).await, ["ShepherdRecovery"]);
    assert_eq!(noted(&failures(&s.db).await).0, &SCRUB);
}

#[tokio::test]
async fn the_note_of_a_broken_view_goes_away_when_its_machine_can_be_planned_again() {
    let acme = Acme::new().await;
    let s = &acme.s;
    let (one, other) = (acme.machine("1", 0).await, acme.machine("2", 0).await);
    s.bmdb.replan().await.unwrap();
    let first = noted(&acme.failures().await).2;
    assert!([one, other].contains(&first));
    // The other one is found by the same pass.
    acme.load(first, 1).await;
    s.bmdb.replan().await.unwrap();
    let second = noted(&acme.failures().await).2;
    assert!(second != first);
    assert_eq!(
        acme.items(first).await,
        ["AcmeScrub|t", "ShepherdAgentStart|t"]
    );
    acme.load(second, 1).await;
    s.bmdb.janitor_turn().await.unwrap();
    assert!(acme.failures().await.is_empty());
    assert_eq!(
        acme.items(second).await,
        ["AcmeScrub|t", "ShepherdAgentStart|t"]
    );
}

#[cfg(feature = "fleet")]
#[tokio::test]
async fn a_batch_is_planned_except_for_the_machines_for_which_a_view_fails() {
    let acme = Acme::new().await;
    let s = &acme.s;
    s.import(300).await;
    s.db.run_sql(
        "INSERT INTO acme_load SELECT machine_id, CASE WHEN provider_id IN ('7', '8', '299') THEN 0 ELSE 1 END
         FROM machine_provided",
    )
    .await
    .unwrap();
    assert_eq!(s.bmdb.replan().await.unwrap(), 300);
    let unplanned = "SELECT provider_id FROM machine_provided p WHERE NOT EXISTS (
        SELECT FROM work_item i WHERE i.machine_id = p.machine_id AND i.process = 'AcmeScrub' AND i.eligible)
        ORDER BY provider_id::integer";
    assert_eq!(s.rows(unplanned).await, ["7", "8", "299"]);
}

#[tokio::test]
async fn a_view_that_is_gone_harms_its_own_process_only() {
    let acme = Acme::new().await;
    let s = &acme.s;
    let machine = acme.machine("1", 1).await;
    s.bmdb.replan().await.unwrap();
    s.db.run_sql("DROP VIEW acme_workflow_scrub").await.unwrap();
    let started = AgentStarted::now(b"key");
    let start = async |tx: &mut Tx<'_>| tx.set_agent_started(machine, &started).await;
    s.session.transact(start).await.unwrap();
    let planned = ["AcmeScrub|t", "ShepherdAgentStart|f", "ShepherdRecovery|t"];
    assert_eq!(acme.items(machine).await, planned);
    assert_eq!(s.bmdb.replan().await.unwrap(), 1);
    let failures = acme.failures().await;
    assert!(
        noted(&failures).3.contains("does not exist"),
        "{failures:?}"
    );
}

#[tokio::test]
async fn only_the_first_transaction_that_meets_a_broken_view_runs_twice() {
    let acme = Acme::new().await;
    let bad = acme.machine("1", 0).await;
    let runs = &AtomicU32::new(0);
    for expected in [2, 3] {
        let touch = async |tx: &mut Tx<'_>| {
            runs.fetch_add(1, SeqCst);
            tx.touch(bad).await
        };
        acme.s.session.transact(touch).await.unwrap();
        assert_eq!(runs.load(SeqCst), expected);
    }
}

#[tokio::test]
async fn writers_do_not_wait_for_each_other_to_note_a_broken_view() {
    let acme = Acme::new().await;
    let (one, other) = (acme.machine("1", 0).await, acme.machine("2", 0).await);
    let mut conn = acme.s.db.connect().await.unwrap();
    connection::begin(&mut conn, Isolation::ReadCommitted, Access::ReadWrite)
        .await
        .unwrap();
    machine::touch(&mut conn, &[one]).await.unwrap();
    let definitions = planner::definitions(&mut conn).await.unwrap();
    let unplanned = planner::replan_carefully(&mut conn, &[one], &definitions, Notify::Off).await;
    assert!(unplanned.unwrap()[0].is_news);

    let touch = acme.s.session.transact(async |tx| tx.touch(other).await);
    let touched = tokio::time::timeout(Duration::from_secs(3), touch).await;
    touched.expect("waits for the other writer").unwrap();
    connection::commit(&mut conn).await.unwrap();
    assert_eq!(noted(&acme.failures().await).2, one);
}

// Regression: `bmdb run --process ShepherdRecovery` ended because of a view of another process.
#[tokio::test]
async fn recovery_claims_what_is_silent_while_views_of_other_processes_fail() {
    let acme = Acme::new().await;
    let s = &acme.s;
    let bad = acme.machine("1", 0).await;
    let started = AgentStarted::now(b"key");
    s.session
        .transact(async |tx| tx.set_agent_started(bad, &started).await)
        .await
        .unwrap();
    s.advance(3600).await;
    // Another component, which has not met the view.
    let bmdb = crate::scenario::connect(&s.db).await;
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let claimed = session.claim(&Claim::of(&RECOVERY)).await.unwrap();
    assert_eq!(claimed.len(), 1);
}

#[tokio::test]
async fn a_claim_steps_over_the_machines_for_which_its_own_view_fails() {
    let acme = Acme::driven_by_time().await;
    let s = &acme.s;
    let bad = acme.machine("1", 1).await;
    let good = acme.machine("2", 1).await;
    s.bmdb.replan().await.unwrap();
    acme.load(bad, 0).await;
    let claim = Claim::of(&SCRUB).limit(10);
    let claimed = s.session.claim(&claim).await.unwrap();
    let machines: Vec<MachineId> = claimed.iter().map(bmdb_core::Work::machine).collect();
    assert_eq!(machines, [good]);
    assert_eq!(noted(&acme.failures().await).2, bad);
    // It is not at the head of the queue any more, and due again in a minute.
    let due = "SELECT eligible, ready_at > now() + interval '50 s' FROM work_item
               WHERE process = 'AcmeScrub' AND session_id IS NULL";
    assert_eq!(s.rows(due).await, ["t|t"]);
    acme.load(bad, 1).await;
    s.advance(61).await;
    assert_eq!(s.session.claim(&claim).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_view_that_is_too_slow_for_one_machine_harms_its_own_process_only() {
    let acme = Acme::new().await;
    let s = &acme.s;
    let slow = acme.machine("1", 1).await;
    s.bmdb.replan().await.unwrap();
    acme.load(slow, -1).await;
    let mut config = Config::new(s.db.url())
        .component("hasty")
        .janitor_interval(None);
    config.statement_timeout = Duration::from_millis(1500);
    config.lock_timeout = Duration::from_millis(500);
    let bmdb = Bmdb::connect(config).await.unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let started = AgentStarted::now(b"key");
    session
        .transact(async |tx| tx.set_agent_started(slow, &started).await)
        .await
        .unwrap();
    let planned = ["AcmeScrub|t", "ShepherdAgentStart|f", "ShepherdRecovery|t"];
    assert_eq!(acme.items(slow).await, planned);
    let failures = acme.failures().await;
    assert!(
        noted(&failures).3.contains("statement timeout"),
        "{failures:?}"
    );
}

#[tokio::test]
async fn an_error_that_is_not_a_views_fails_the_transaction_as_before() {
    let acme = Acme::new().await;
    let bad = acme.machine("1", 0).await;
    let failed = acme.s.session.transact(async |tx| {
        tx.touch(bad).await?;
        diesel_async::SimpleAsyncConnection::batch_execute(&mut **tx, "SELECT 1 / 0").await?;
        Ok::<_, TxError>(())
    });
    assert!(
        failed
            .await
            .unwrap_err()
            .to_string()
            .contains("division by zero")
    );
    assert!(acme.failures().await.is_empty());
}

#[tokio::test]
async fn a_breaker_whose_view_fails_refuses_claims_and_fails_none() {
    let acme = Acme::new().await;
    let s = &acme.s;
    acme.machine("1", 1).await;
    let bad = acme.machine("2", 1).await;
    s.bmdb.replan().await.unwrap();
    acme.load(bad, 0).await;
    s.db.run_sql(
        "INSERT INTO process_control VALUES ('AcmeScrub');
         INSERT INTO process_breaker (process, per, max_due) VALUES ('AcmeScrub', 'process', 10)",
    )
    .await
    .unwrap();
    let claim = Claim::of(&SCRUB).limit(10);
    assert!(s.session.claim(&claim).await.unwrap().is_empty());
    assert_eq!(
        s.session
            .claim(&Claim::of(&START).limit(10))
            .await
            .unwrap()
            .len(),
        2
    );
    acme.load(bad, 1).await;
    // It is paused for a minute, in which nobody asks the view again.
    s.advance(61).await;
    // Another session has no queue cursor behind the machines that were refused.
    let session = s.another_session().await;
    assert_eq!(session.claim(&claim).await.unwrap().len(), 2);
}
