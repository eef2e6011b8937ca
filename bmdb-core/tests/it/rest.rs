//! Rests after finishes by hand: every way to finish plans the machine and judges it.

use crate::scenario::{Scenario, unwritten, work_on};
use bmdb_core::{Claim, TxError, TxOptions, Work};
use bmdb_model::{AgentStarted, MachineId, Process};

const START: Process = Process::SHEPHERD_AGENT_START;

const ITEM: &str = "SELECT unproductive, backoff_until > clock_timestamp()
                    FROM work_item WHERE process = 'ShepherdAgentStart'";

/// Every way to finish without writing a tag.
#[derive(Debug, Clone, Copy)]
enum Way {
    Complete,
    All,
    Closure,
    Serializable,
}

const WAYS: [Way; 4] = [Way::Complete, Way::All, Way::Closure, Way::Serializable];

impl Scenario {
    async fn finish_by(&self, way: Way, work: Work) {
        match way {
            Way::Complete => work.complete().await.unwrap(),
            Way::All => {
                for finished in self.session.finish_all(unwritten([work])).await {
                    finished.unwrap();
                }
            }
            Way::Closure => work.finish(async |_| Ok(())).await.unwrap(),
            Way::Serializable => {
                let options = TxOptions::default();
                work.finish_with(options, async |_| Ok(())).await.unwrap();
            }
        }
    }

    async fn start_agent_by_sql(&self, machine: MachineId) {
        let sql = format!(
            "INSERT INTO machine_agent_started VALUES ('{machine}', clock_timestamp(), 'key')"
        );
        self.db.run_sql(&sql).await.unwrap();
    }
}

#[tokio::test]
async fn every_finish_is_judged_by_a_new_plan() {
    for way in WAYS {
        let s = Scenario::new().await;
        let machine = s.provided("a").await;
        s.finish_by(way, s.claim_one().await).await;
        assert_eq!(s.rows(ITEM).await, ["1|t"], "{way:?}");
        s.advance(34).await;
        s.finish_by(way, s.claim_one().await).await;
        assert_eq!(s.rows(ITEM).await, ["2|t"], "{way:?}");
        s.advance(67).await;
        let work = s.claim_one().await;
        assert_eq!(work.previous_interval(), None, "nothing has failed");
        s.start_agent_by_sql(machine).await;
        s.finish_by(way, work).await;
        assert_eq!(s.rows(ITEM).await, ["0|"], "{way:?}");
        let eligible = "SELECT process FROM work_item WHERE eligible";
        assert_eq!(s.rows(eligible).await, ["ShepherdRecovery"], "{way:?}");
    }
}

#[tokio::test]
async fn a_finish_that_writes_its_tag_does_not_rest() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let agent = AgentStarted::now(b"key");
    let finished = s.claim_one().await;
    let finished = finished.finish(async |tx| tx.set_agent_started(machine, &agent).await);
    finished.await.unwrap();
    assert_eq!(s.rows(ITEM).await, ["0|"]);
}

#[tokio::test]
async fn a_finish_that_deletes_its_machine_has_nothing_to_rest() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let finished = s.claim_one().await;
    let finished = finished.finish(async |tx| tx.delete_machine(machine).await);
    finished.await.unwrap();
    assert_eq!(
        s.rows("SELECT outcome FROM work_attempt").await,
        ["Finished"]
    );
}

#[tokio::test]
async fn a_finish_that_is_rolled_back_does_not_rest() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let failed = s.claim_one().await;
    let failed = failed.finish(async |_| Err::<(), _>(TxError::abort("no")));
    let work = failed.await.unwrap_err().into_work().unwrap();
    assert_eq!(s.rows(ITEM).await, ["0|"]);
    work.cancel().await.unwrap();
}

#[tokio::test]
async fn a_process_without_a_workflow_never_rests() {
    for way in WAYS {
        let s = Scenario::new().await;
        let machine = s.provided("a").await;
        for _ in 0..4 {
            let access = Process::SHEPHERD_ACCESS;
            let work = work_on(&s.session, &access, machine).await.unwrap();
            s.finish_by(way, work).await;
        }
    }
}

#[tokio::test]
async fn a_view_that_fails_does_not_keep_a_finish_from_being_recorded() {
    for way in WAYS {
        let s = Scenario::new().await;
        s.create_view(
            "CREATE VIEW acme_workflow_odd AS
             SELECT machine_id, provider, NULL::timestamptz AS ready_at FROM machine_provided
             WHERE 1 / (length(provider_id) - 1) = 5",
        )
        .await;
        let machine = s.provided("ab").await;
        let definition = bmdb_model::ProcessDef::new(Process::from_static("Odd"));
        let definition = definition.workflow("acme_workflow_odd");
        s.owner().await.define_process(&definition).await.unwrap();
        let work = s.claim_one().await;
        s.db.run_sql("UPDATE machine_provided SET provider_id = 'a'")
            .await
            .unwrap();
        s.finish_by(way, work).await;
        assert_eq!(
            s.rows(ITEM).await,
            ["1|t"],
            "{way:?}: judged by its own plan"
        );
        let failures = "SELECT process, machine_id FROM plan_failure";
        assert_eq!(
            s.rows(failures).await,
            [format!("Odd|{machine}")],
            "{way:?}"
        );
    }
}

#[tokio::test]
async fn finishes_of_a_batch_are_judged_each_by_itself() {
    let s = Scenario::new().await;
    let machines = [s.provided("a").await, s.provided("b").await];
    let claim = Claim::of(&START).limit(2);
    let claimed = s.session.claim(&claim).await.unwrap();
    s.start_agent_by_sql(machines[1]).await;
    for finished in s.session.finish_all(unwritten(claimed)).await {
        finished.unwrap();
    }
    let rests = "SELECT machine_id FROM work_item WHERE unproductive = 1";
    assert_eq!(s.rows(rests).await, [machines[0].to_string()]);
}
