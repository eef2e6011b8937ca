//! Breakers: what trips them, whom that stops, and when they are armed again.

use crate::scenario::{MINUTE, RECOVERY, START, Scenario};
use bmdb_model::internal::process_control::{
    PauseEnd, Resumed, rearm_breakers, remove_breaker, resume, set_breaker,
};
use bmdb_model::process_control::{self, Breaker, PartitionNeed, Pause, PauseSource, Per};
use bmdb_model::{MachineId, Process, ProcessDef, Provider};
use diesel_async::AsyncPgConnection;
use std::collections::HashMap;

const FRA1: Provider = Provider::from_static("fra1");

impl Scenario {
    async fn set_breaker(&self, process: &Process, breaker: Breaker) -> Option<Breaker> {
        let set = async |conn: &mut AsyncPgConnection| set_breaker(conn, process, &breaker).await;
        self.change(set).await.unwrap()
    }

    async fn resume(&self, process: &Process, provider: Option<&Provider>) -> Resumed {
        let resume = async |conn: &mut AsyncPgConnection| resume(conn, process, provider).await;
        self.change(resume).await.unwrap()
    }

    async fn pauses(&mut self) -> Vec<Pause> {
        process_control::pauses(&mut self.conn).await.unwrap()
    }

    async fn needs(&mut self, process: &Process) -> HashMap<String, PartitionNeed> {
        let found = process_control::of(&mut self.conn, process).await.unwrap();
        let partitions = found
            .breakers
            .into_iter()
            .flat_map(|breaker| breaker.partitions);
        partitions.map(|need| (need.name.clone(), need)).collect()
    }

    /// Machines whose agents beat 11 minutes ago, or a minute ago.
    async fn recoverable(
        &self,
        provider: &Provider,
        silent: usize,
        heard: usize,
    ) -> Vec<MachineId> {
        let mut machines = Vec::new();
        for n in 0..silent + heard {
            let beat = if n < silent { 11 } else { 1 };
            let machine = self.db.machine().provided(provider, &format!("{n}"));
            let machine = machine
                .agent_started(60 * MINUTE)
                .agent_heartbeat(beat * MINUTE);
            machines.push(machine.planned().create().await.unwrap());
        }
        machines
    }

    async fn trips(&self) -> Vec<String> {
        self.rows("SELECT process, operator, reason, details FROM operator_action WHERE verb = 'TripBreaker' ORDER BY 1")
            .await
    }
}

fn share() -> Breaker {
    let five = "5%".parse().unwrap();
    Breaker::new(Per::Provider).max_due(2).max_due_percent(five)
}

#[tokio::test]
async fn too_many_silent_machines_stop_their_provider_before_the_first_start() {
    let mut s = Scenario::new().await;
    s.recoverable(&Provider::EQUINIX, 4, 6).await;
    s.recoverable(&FRA1, 2, 2).await;
    s.set_breaker(&RECOVERY, share()).await;
    assert_eq!(
        s.claim(&RECOVERY).await.len(),
        2,
        "those of fra1: two machines are not too many"
    );
    let pauses = s.pauses().await;
    let [pause] = &pauses[..] else {
        panic!("{pauses:?}")
    };
    assert_eq!(
        (&pause.provider, pause.source),
        (&Some(Provider::EQUINIX), PauseSource::Breaker)
    );
    assert_eq!(
        pause.reason,
        "4 of 10 machines need it at once, more than 2"
    );
    assert_eq!(pause.until, None);
    assert_eq!(
        s.trips().await,
        [
            r#"ShepherdRecovery|breaker|4 of 10 machines need it at once, more than 2|{"provider": "Equinix"}"#
        ]
    );
    let needs = s.needs(&RECOVERY).await;
    let equinix = &needs["Equinix"];
    assert_eq!(
        (equinix.due, equinix.population, equinix.threshold),
        (Some(4), Some(10), Some(2))
    );
    assert_eq!(
        (needs["fra1"].due, needs["fra1"].threshold),
        (Some(2), Some(2))
    );
}

#[tokio::test]
async fn a_resumed_breaker_lets_them_all_start_and_is_armed_again_once_few_need_it() {
    let mut s = Scenario::new().await;
    s.recoverable(&Provider::EQUINIX, 4, 6).await;
    s.set_breaker(&RECOVERY, share()).await;
    assert!(s.claim(&RECOVERY).await.is_empty());
    let resumed = s.resume(&RECOVERY, Some(&FRA1)).await;
    assert_eq!(resumed.pauses, [], "another provider");
    let resumed = s.resume(&RECOVERY, None).await;
    assert_eq!(resumed.pauses.len(), 1);
    assert!(s.needs(&RECOVERY).await["Equinix"].disarmed);
    assert_eq!(s.claim(&RECOVERY).await.len(), 4);
    rearm_breakers(&mut s.conn).await.unwrap();
    assert!(
        s.needs(&RECOVERY).await["Equinix"].disarmed,
        "four need it still"
    );

    s.db.run_sql("UPDATE machine_agent_heartbeat SET agent_heartbeat_at = clock_timestamp()")
        .await
        .unwrap();
    s.lose(1).await;
    s.db.run_sql("UPDATE process_breaker_state SET evaluate_after = now()")
        .await
        .unwrap();
    rearm_breakers(&mut s.conn).await.unwrap();
    assert!(!s.needs(&RECOVERY).await["Equinix"].disarmed);
    s.advance(660).await;
    s.db.run_sql("UPDATE agent_listening SET assumed = true")
        .await
        .unwrap();
    assert!(s.claim(&RECOVERY).await.is_empty());
    assert_eq!(s.trips().await.len(), 2);
}

#[tokio::test]
async fn a_breaker_may_resume_by_itself_and_leaves_the_pause_of_a_person_alone() {
    let mut s = Scenario::new().await;
    s.recoverable(&Provider::EQUINIX, 4, 0).await;
    s.set_breaker(
        &RECOVERY,
        Breaker::new(Per::Process).max_due(3).resume_after(600),
    )
    .await;
    assert!(s.claim(&RECOVERY).await.is_empty());
    let [pause] = &s.pauses().await[..] else {
        panic!()
    };
    let seconds = (pause.until.unwrap() - pause.since).num_seconds();
    assert!(
        (599..=600).contains(&seconds) && pause.provider.is_none(),
        "{pause:?}"
    );
    s.advance(601).await;
    assert!(s.claim(&RECOVERY).await.is_empty(), "it trips again");
    assert_eq!(s.trips().await.len(), 2);
    assert_eq!(
        s.trips().await[0],
        "ShepherdRecovery|breaker|4 of 4 machines need it at once, more than 3|{}"
    );
    s.resume(&RECOVERY, None).await;
    s.pause(&RECOVERY, None, PauseEnd::Resumed, "by hand")
        .await
        .unwrap();
    assert!(s.claim(&RECOVERY).await.is_empty());
    assert_eq!(s.pauses().await[0].reason, "by hand");
}

#[tokio::test]
async fn failures_within_a_window_stop_a_process_until_it_is_resumed() {
    let mut s = Scenario::new().await;
    for n in 0..8 {
        s.provided(&format!("{n}")).await;
    }
    let breaker = Breaker::new(Per::Process).max_failures(3, 600);
    assert_eq!(s.set_breaker(&START, breaker.clone()).await, None);
    let attempts = s.claim(&START).await;
    s.fail(&attempts[0], 36_000, "no answer").await;
    s.fail(&attempts[1], 36_000, "no answer").await;
    s.advance(601).await;
    s.fail(&attempts[2], 36_000, "no answer").await;
    s.finish(&attempts[3]).await;
    s.cancel(&attempts[4]).await;
    assert_eq!(s.needs(&START).await[""].failures, 1);
    assert_eq!(s.pauses().await, []);
    s.fail(&attempts[5], 36_000, "no answer").await;
    s.fail(&attempts[6], 36_000, "the switch is on fire").await;
    let [pause] = &s.pauses().await[..] else {
        panic!()
    };
    assert_eq!(
        pause.reason,
        "3 attempts failed within 00:10:00, the last one because: the switch is on fire"
    );
    assert!(s.claim(&START).await.is_empty());
    s.resume(&START, None).await;
    assert_eq!(s.needs(&START).await[""].failures, 0);
    assert!(!s.claim(&START).await.is_empty());
    s.fail(&attempts[7], 36_000, "no answer").await;
    assert_eq!(s.pauses().await, [], "failures count from the start");

    let remove =
        async |conn: &mut AsyncPgConnection| remove_breaker(conn, &START, Per::Process).await;
    assert_eq!(s.change(remove).await.unwrap(), Some(breaker));
    assert_eq!(s.rows("SELECT count(*) FROM process_control").await, ["0"]);
}

#[tokio::test]
async fn a_workflow_that_cannot_be_counted_starts_nothing_and_says_why() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.db.run_sql(
        "CREATE VIEW acme AS SELECT machine_id, provider, NULL::timestamptz AS ready_at FROM machine_provided
         WHERE 1 / (CASE WHEN provider_id = 'bad' THEN 0 ELSE 1 END) = 1",
    )
    .await
    .unwrap();
    let acme = Process::from_static("Acme");
    s.define(&ProcessDef::new(acme.clone()).workflow("acme"))
        .await
        .unwrap();
    s.write(machine, async |_| Ok(())).await.unwrap();
    s.set_breaker(&acme, Breaker::new(Per::Process).max_due(5))
        .await;
    s.db.run_sql("UPDATE machine_provided SET provider_id = 'bad'")
        .await
        .unwrap();
    assert!(s.claim(&acme).await.is_empty());
    let [pause] = &s.pauses().await[..] else {
        panic!()
    };
    assert_eq!(
        pause.reason,
        "the machines that need it cannot be counted, because its workflow acme fails: division by zero"
    );
    s.db.run_sql("UPDATE machine_provided SET provider_id = 'good'")
        .await
        .unwrap();
    s.advance(61).await;
    assert_eq!(s.claim(&acme).await.len(), 1, "mended");
}

#[tokio::test]
async fn the_share_of_a_process_that_time_does_not_drive_is_one_of_its_providers_machines() {
    let mut s = Scenario::new().await;
    for n in 0..10 {
        let machine = s.db.machine().provided(&Provider::EQUINIX, &format!("{n}"));
        let machine = if n < 7 {
            machine.agent_started(MINUTE)
        } else {
            machine
        };
        machine.planned().create().await.unwrap();
    }
    let thirty = Breaker::new(Per::Provider).max_due_percent("30%".parse().unwrap());
    s.set_breaker(&START, thirty).await;
    assert_eq!(s.claim(&START).await.len(), 3);
    let twenty = Breaker::new(Per::Provider).max_due_percent("29.999%".parse().unwrap());
    s.set_breaker(&START, twenty).await;
    s.lose(1).await;
    s.advance(60).await;
    assert!(s.claim(&START).await.is_empty());
    assert_eq!(
        s.pauses().await[0].reason,
        "3 of 10 machines need it at once, more than 2"
    );
}

#[tokio::test]
async fn a_breaker_whose_population_is_unknown_is_refused() {
    let mut s = Scenario::new().await;
    let wipe = Process::from_static("AcmeWipe");
    s.define(&ProcessDef::new(wipe.clone()).loss_delay(1, 2))
        .await
        .unwrap();
    let breaker = Breaker::new(Per::Process).max_due(5);
    let set = async |conn: &mut AsyncPgConnection| set_breaker(conn, &wipe, &breaker).await;
    let refused = s.change(set).await.unwrap_err().to_string();
    assert!(
        refused.contains("it has no workflow, so nobody knows how many machines need it"),
        "{refused}"
    );
    s.set_breaker(&wipe, Breaker::new(Per::Process).max_failures(5, 60))
        .await;
}
