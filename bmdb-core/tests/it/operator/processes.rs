//! Operator actions on processes, with their audit records.

use super::{ACCESS, START, ann};
use crate::scenario::{Scenario, work_on};
use bmdb_core::operator::{Operator, OperatorError, PauseOptions};
use bmdb_core::{Claim, TxError, WorkError};
use bmdb_model::process_control::{self, Breaker, Limit, Per, ProcessControl};
use bmdb_model::{Error, Process, Provider};
use std::time::Duration;

const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

impl Scenario {
    async fn control_of(&self, process: &Process) -> ProcessControl {
        let mut conn = self.db.connect().await.unwrap();
        process_control::of(&mut conn, process).await.unwrap()
    }

    /// The audit records with their details, oldest first.
    async fn details(&self) -> Vec<String> {
        self.rows("SELECT concat_ws(' ', verb, process, reason, details) FROM operator_action ORDER BY action_id")
            .await
    }

    async fn claimed(&self, process: &Process) -> usize {
        let claim = Claim::of(process).limit(10);
        self.session.claim(&claim).await.unwrap().len()
    }
}

#[tokio::test]
async fn limits_and_breakers_are_set_replaced_and_removed_with_audit_records() {
    let s = Scenario::new().await;
    let (ann, session) = (ann(), &s.session);
    let limit = Limit::new(Per::Process).max_running(5).max_starts(10, 600);
    assert_eq!(ann.set_limit(session, &START, &limit).await.unwrap(), None);
    // The same limit again changes nothing.
    let before = ann.set_limit(session, &START, &limit).await.unwrap();
    assert_eq!(before, Some(limit.clone()));
    let lower = Limit::new(Per::Process).max_running(1);
    ann.set_limit(session, &START, &lower).await.unwrap();
    assert_eq!(
        ann.remove_limit(session, &START, Per::Process)
            .await
            .unwrap(),
        lower
    );
    let none = ann
        .remove_limit(session, &START, Per::Process)
        .await
        .unwrap_err();
    assert_eq!(
        none.to_string(),
        "ShepherdAgentStart has no limit per process"
    );

    let five = "5%".parse().unwrap();
    let breaker = Breaker::new(Per::Provider).max_due_percent(five).max_due(5);
    let breaker = breaker.max_failures(20, 600).resume_after(3600);
    assert_eq!(
        ann.set_breaker(session, &START, &breaker).await.unwrap(),
        None
    );
    assert_eq!(s.control_of(&START).await.breakers[0].breaker, breaker);
    assert_eq!(
        ann.remove_breaker(session, &START, Per::Provider)
            .await
            .unwrap(),
        breaker
    );
    let none = ann
        .remove_breaker(session, &START, Per::Provider)
        .await
        .unwrap_err();
    assert_eq!(
        none.to_string(),
        "ShepherdAgentStart has no breaker per provider"
    );
    assert!(!s.control_of(&START).await.is_controlled());
    assert_eq!(
        s.details().await,
        [
            r#"SetLimit ShepherdAgentStart because {"now": "5 running, 10 starts/10m", "per": "process"}"#,
            r#"SetLimit ShepherdAgentStart because {"now": "1 running", "per": "process", "before": "5 running, 10 starts/10m"}"#,
            r#"RemoveLimit ShepherdAgentStart because {"per": "process", "before": "1 running"}"#,
            r#"SetBreaker ShepherdAgentStart because {"now": "5% and 5 due, 20 failures/10m, resumes after 1h", "per": "provider"}"#,
            r#"RemoveBreaker ShepherdAgentStart because {"per": "provider", "before": "5% and 5 due, 20 failures/10m, resumes after 1h"}"#,
        ]
    );
}

#[tokio::test]
async fn a_limit_waits_briefly_for_a_transaction_in_the_way_and_tries_again() {
    let s = Scenario::new().await;
    let mut rival = s.db.connect().await.unwrap();
    use diesel_async::SimpleAsyncConnection;
    rival
        .batch_execute("BEGIN; LOCK TABLE work_item IN ROW EXCLUSIVE MODE")
        .await
        .unwrap();
    let limit = Limit::new(Per::Process).max_running(5);
    let ann = ann();
    let (set, ()) = tokio::join!(ann.set_limit(&s.session, &START, &limit), async {
        // Longer than one try waits.
        tokio::time::sleep(Duration::from_millis(300)).await;
        rival.batch_execute("COMMIT").await.unwrap();
    });
    assert_eq!(set.unwrap(), None);
    assert_eq!(s.details().await.len(), 1);
}

#[tokio::test]
async fn a_pause_and_its_replacement_are_recorded_and_a_resume_ends_them() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let (ann, session) = (ann(), &s.session);
    let all = PauseOptions::default();
    let nameless = Operator::new("bob")
        .pause(session, &START, &all)
        .await
        .unwrap_err();
    assert!(
        matches!(
            nameless,
            OperatorError::Transaction(TxError::Database(Error::Empty { field: "reason" }))
        ),
        "{nameless:?}"
    );
    let two_lines = ann.clone().reason("a switch\nis replaced");
    let paused = two_lines.pause(session, &START, &all).await.unwrap();
    assert_eq!(
        (paused.replaced, &*paused.pause.reason),
        (None, "a switch is replaced")
    );
    let for_an_hour = PauseOptions::default().lasting(Duration::from_secs(3600));
    let again = ann
        .pause(session, &START, &for_an_hour.stop_running(true))
        .await
        .unwrap();
    assert_eq!(again.replaced, Some(paused.pause));
    let of_one = PauseOptions::default().provider(Provider::EQUINIX);
    ann.pause(session, &ACCESS, &of_one).await.unwrap();
    assert_eq!(s.claimed(&START).await, 0);
    match work_on(session, &ACCESS, machine).await {
        Err(WorkError::Paused {
            by,
            reason,
            until: None,
            ..
        }) => {
            assert_eq!((&*by, &*reason), ("ann@desk", "because"));
        }
        other => panic!("{other:?}"),
    }
    let one = ann
        .resume(session, &START, Some(&Provider::EQUINIX))
        .await
        .unwrap_err();
    assert!(
        one.to_string()
            .contains("is not paused for Equinix alone but as a whole: resume it"),
        "{one}"
    );
    let tried = ann.resume_dry_run(session, &START, None).await.unwrap();
    assert_eq!(tried.pauses, [again.pause]);
    let resumed = ann.resume(session, &START, None).await.unwrap();
    assert_eq!(resumed, tried);
    let none = ann.resume(session, &START, None).await.unwrap_err();
    assert_eq!(none.to_string(), "ShepherdAgentStart is not paused");
    assert_eq!(s.claimed(&START).await, 1);

    let records = s.details().await;
    assert_eq!(
        records[0],
        "PauseProcess ShepherdAgentStart a switch is replaced"
    );
    assert!(
        records[1].contains(r#""stop running": "true""#),
        "{records:?}"
    );
    assert!(
        records[1].contains(r#""paused before": "by ann@desk since 20"#),
        "{records:?}"
    );
    assert_eq!(
        records[2],
        r#"PauseProcess ShepherdAccess because {"provider": "Equinix"}"#
    );
    assert!(
        records[3].starts_with(r#"ResumeProcess ShepherdAgentStart because {"paused before": "#)
    );
    assert_eq!(records.len(), 4, "a dry run leaves none: {records:?}");
}

#[tokio::test]
async fn a_limit_that_is_reached_is_the_reason_why_no_work_starts() {
    let s = Scenario::new().await;
    let machines = [
        s.provided("a").await,
        s.provided("b").await,
        s.provided("c").await,
    ];
    let limit = Limit::new(Per::Provider).max_running(1);
    ann().set_limit(&s.session, &ACCESS, &limit).await.unwrap();
    let work = work_on(&s.session, &ACCESS, machines[0]).await.unwrap();
    match work_on(&s.session, &ACCESS, machines[1]).await {
        Err(error @ WorkError::Limited { opens_at: None, .. }) => {
            let text = error.to_string();
            assert!(
                text.ends_with(": as many machines are claimed as its limit allows"),
                "{text}"
            );
        }
        other => panic!("{other:?}"),
    }
    work.cancel().await.unwrap();
    let starts = Limit::new(Per::Provider).max_starts(1, 600);
    ann().set_limit(&s.session, &ACCESS, &starts).await.unwrap();
    drop(work_on(&s.session, &ACCESS, machines[1]).await.unwrap());
    match work_on(&s.session, &ACCESS, machines[2]).await {
        Err(WorkError::Limited {
            opens_at: Some(_),
            process,
            ..
        }) => assert_eq!(process, ACCESS),
        other => panic!("{other:?}"),
    }
    s.db.run_sql(
        "INSERT INTO work_item (machine_id, process, lane, hold_reason, hold_since)
         SELECT machine_id, 'AcmeWipe', 'AcmeWipe', 'leave it', now() FROM machines",
    )
    .await
    .unwrap();
    match work_on(&s.session, &Process::from_static("AcmeWipe"), machines[2]).await {
        Err(WorkError::ProcessOnHold { reason, .. }) => assert_eq!(reason, "leave it"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_resume_of_recovery_counts_silence_where_nobody_listens() {
    let s = Scenario::new().await;
    let beat = Duration::from_secs(11 * 60);
    let machine = s.db.machine().provided(&Provider::EQUINIX, "a");
    let machine = machine
        .agent_started(Duration::from_secs(3600))
        .agent_heartbeat(beat);
    machine.create().await.unwrap();
    s.db.run_sql("DELETE FROM agent_listening").await.unwrap();
    let owner = s.owner().await;
    owner.replan().await.unwrap();
    assert_eq!(s.claimed(&RECOVERY).await, 0);
    let tried = ann()
        .resume_dry_run(&s.session, &RECOVERY, None)
        .await
        .unwrap();
    assert_eq!(tried.assumed, [Provider::EQUINIX]);
    assert_eq!(s.claimed(&RECOVERY).await, 0);
    let resumed = ann().resume(&s.session, &RECOVERY, None).await.unwrap();
    assert_eq!(resumed, tried);
    assert_eq!(s.claimed(&RECOVERY).await, 1);
    let records = s.details().await;
    assert_eq!(
        records,
        [r#"ResumeProcess ShepherdRecovery because {"silence counts for": "Equinix"}"#]
    );
}

#[tokio::test]
async fn a_process_that_is_off_is_due_nowhere_until_it_is_on_again() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let owner = s.owner().await;
    let session = owner
        .start_session(bmdb_core::SessionOptions::default())
        .await
        .unwrap();
    let ann = ann();
    assert_eq!(ann.switch_off(&session, &START).await.unwrap(), 1);
    assert_eq!(s.claimed(&START).await, 0);
    let off = ann.switch_off(&session, &START).await.unwrap_err();
    assert_eq!(
        off.to_string(),
        "ShepherdAgentStart is switched off already"
    );
    let definition = bmdb_model::ProcessDef::new(START).workflow("workflow_agent_start");
    let refused = owner.define_process(&definition).await.unwrap_err();
    assert!(refused.to_string().contains("bmdb process on"), "{refused}");
    assert_eq!(ann.switch_on(&session, &START).await.unwrap(), 1);
    assert_eq!(s.claimed(&START).await, 1);
    let on = ann.switch_on(&session, &START).await.unwrap_err();
    assert_eq!(on.to_string(), "ShepherdAgentStart is not switched off");
    assert_eq!(
        s.details().await,
        [
            "SwitchOff ShepherdAgentStart because",
            "SwitchOn ShepherdAgentStart because"
        ]
    );
}

#[tokio::test]
async fn a_component_may_not_switch_processes() {
    let s = Scenario::new().await;
    s.owner().await;
    let url = s.db.url_as(bmdb_testkit::Role::Component).await.unwrap();
    let config = bmdb_core::Config::new(url)
        .component("component")
        .janitor_interval(None);
    let component = bmdb_core::Bmdb::connect(config).await.unwrap();
    let session = component
        .start_session(bmdb_core::SessionOptions::default())
        .await
        .unwrap();
    let refused = ann().switch_off(&session, &START).await.unwrap_err();
    assert!(
        matches!(refused, OperatorError::MayNotDefine { .. }),
        "{refused:?}"
    );
    assert!(
        refused
            .to_string()
            .contains("only members of bmdb_owner may do"),
        "{refused}"
    );
    // Limits and pauses are for operators, who are components.
    let limit = Limit::new(Per::Process).max_running(5);
    ann().set_limit(&session, &START, &limit).await.unwrap();
    ann()
        .pause(&session, &START, &PauseOptions::default())
        .await
        .unwrap();
    ann().resume(&session, &START, None).await.unwrap();
    ann()
        .remove_limit(&session, &START, Per::Process)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_janitor_arms_a_breaker_again_when_few_machines_need_the_process() {
    let s = Scenario::new().await;
    for id in ["a", "b", "c"] {
        s.provided(id).await;
    }
    let breaker = Breaker::new(Per::Process).max_due(2);
    ann()
        .set_breaker(&s.session, &START, &breaker)
        .await
        .unwrap();
    assert_eq!(s.claimed(&START).await, 0);
    assert!(s.control_of(&START).await.is_tripped());
    ann().resume(&s.session, &START, None).await.unwrap();
    let disarmed = async || s.control_of(&START).await.breakers[0].partitions[0].disarmed;
    s.bmdb.janitor_turn().await.unwrap();
    assert!(disarmed().await, "three need it still");
    s.db.run_sql("DELETE FROM machine_provided WHERE provider_id = 'c'")
        .await
        .unwrap();
    s.advance(61).await;
    s.bmdb.janitor_turn().await.unwrap();
    assert!(!disarmed().await);
}
