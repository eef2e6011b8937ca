//! Pauses: what they stop, when they end, and which are refused.

use crate::scenario::{RECOVERY, START, Scenario};
use bmdb_model::connection::clock;
use bmdb_model::internal::process_control::{
    NewPause, PauseEnd, pause, resume, stopping, switch_off, switch_on,
};
use bmdb_model::internal::work::{self, Gate};
use bmdb_model::process_control::{self, Pause, PauseSource};
use bmdb_model::{Error, Process, Provider};
use chrono::TimeDelta;
use diesel_async::AsyncPgConnection;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

impl Scenario {
    pub(crate) async fn pause(
        &self,
        process: &Process,
        provider: Option<&Provider>,
        end: PauseEnd,
        reason: &str,
    ) -> Result<(Pause, Option<Pause>), Error> {
        let new = NewPause {
            process,
            provider,
            end,
            source: PauseSource::Operator,
            paused_by: "ann",
            reason,
            stop_running: false,
        };
        let pause = async |conn: &mut AsyncPgConnection| pause(conn, &new).await;
        self.change(pause).await
    }
}

#[tokio::test]
async fn a_pause_stops_claims_of_its_machines_until_it_ends() {
    let mut s = Scenario::new().await;
    let fra1 = Provider::from_static("fra1");
    let machine = s.provided("a").await;
    let elsewhere =
        s.db.machine()
            .provided(&fra1, "b")
            .planned()
            .create()
            .await
            .unwrap();
    s.pause(
        &START,
        Some(&Provider::EQUINIX),
        PauseEnd::After(HOUR),
        "a\nreason",
    )
    .await
    .unwrap();
    let claimed: Vec<_> = s
        .claim(&START)
        .await
        .iter()
        .map(|attempt| attempt.machine)
        .collect();
    assert_eq!(claimed, [elsewhere]);
    let session = s.session;
    assert!(
        work::claim_machine(&mut s.conn, machine, &START, session)
            .await
            .unwrap()
            .is_none()
    );
    let Gate::Paused {
        by,
        reason,
        until: Some(_),
    } = s.gate(&START, machine).await
    else {
        panic!()
    };
    assert_eq!((&*by, &*reason), ("ann", "a reason"));
    s.advance(3601).await;
    assert_eq!(s.gate(&START, machine).await, Gate::Open);
    assert_eq!(s.claim(&START).await.len(), 1);
}

#[tokio::test]
async fn a_pause_of_a_pause_replaces_it_and_a_resume_ends_those_in_its_scope() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let (first, before) = s
        .pause(&START, None, PauseEnd::Resumed, "first")
        .await
        .unwrap();
    assert_eq!((before, first.until), (None, None));
    let at = clock(&mut s.conn).await.unwrap() + TimeDelta::hours(1);
    let (second, before) = s
        .pause(&START, None, PauseEnd::At(at), "second")
        .await
        .unwrap();
    assert_eq!(before, Some(first));
    assert_eq!(second.until.unwrap().timestamp(), at.timestamp());
    let (third, before) = s
        .pause(&START, Some(&Provider::EQUINIX), PauseEnd::Resumed, "third")
        .await
        .unwrap();
    assert_eq!(before, None, "of other machines");
    let resumed = async |s: &Scenario, provider: Option<&Provider>| {
        let resume = async |conn: &mut AsyncPgConnection| resume(conn, &START, provider).await;
        s.change(resume).await.unwrap().pauses
    };
    assert_eq!(resumed(&s, Some(&Provider::EQUINIX)).await, [third]);
    assert!(s.claim(&START).await.is_empty());
    assert_eq!(resumed(&s, None).await, [second]);
    assert_eq!(resumed(&s, None).await, []);
    assert_eq!(s.claim(&START).await.len(), 1);
    assert_eq!(s.rows("SELECT count(*) FROM process_control").await, ["0"]);
}

#[tokio::test]
async fn pauses_that_cannot_be_are_refused_with_what_to_do() {
    let mut s = Scenario::new().await;
    let none = s
        .pause(&START, Some(&Provider::EQUINIX), PauseEnd::Resumed, "x")
        .await;
    assert!(
        none.unwrap_err()
            .to_string()
            .contains("Equinix, or any other provider")
    );
    s.provided("a").await;
    let past = PauseEnd::At(clock(&mut s.conn).await.unwrap() - TimeDelta::seconds(1));
    let unknown = Provider::from_static("Typo");
    for (provider, end, reason, words) in [
        (
            Some(&unknown),
            PauseEnd::Resumed,
            "x",
            "no machine has the provider Typo: the providers are Equinix",
        ),
        (
            None,
            past,
            "x",
            "has passed already, by the database's clock",
        ),
        (
            None,
            PauseEnd::After(Duration::ZERO),
            "x",
            "between 1 millisecond and 366 days",
        ),
        (
            None,
            PauseEnd::After(Duration::MAX),
            "x",
            "between 1 millisecond and 366 days",
        ),
        (None, PauseEnd::Resumed, "", "reason must not be empty"),
        (None, PauseEnd::Resumed, " \n\t", "reason must not be empty"),
        (None, PauseEnd::Resumed, "a\0", "NUL byte"),
    ] {
        let refused = s
            .pause(&START, provider, end, reason)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains(words), "{refused}");
    }
    let unknown = Process::from_static("Typo");
    let refused = s
        .pause(&unknown, None, PauseEnd::Resumed, "x")
        .await
        .unwrap_err();
    assert!(matches!(refused, Error::NoSuchProcess { .. }), "{refused}");
    assert_eq!(s.rows("SELECT count(*) FROM process_control").await, ["0"]);
}

#[tokio::test]
async fn a_pause_that_stops_what_runs_names_the_attempts_of_its_machines() {
    let mut s = Scenario::new().await;
    let fra1 = Provider::from_static("fra1");
    s.provided("a").await;
    s.db.machine()
        .provided(&fra1, "b")
        .planned()
        .create()
        .await
        .unwrap();
    let attempts = s.claim(&START).await;
    let session = s.session;
    s.pause(&START, None, PauseEnd::Resumed, "they may go on")
        .await
        .unwrap();
    assert_eq!(stopping(&mut s.conn, &START, session).await.unwrap(), []);
    s.db.run_sql(
        "UPDATE process_pause SET provider = 'fra1', stop_running = true, reason = 'stop'",
    )
    .await
    .unwrap();
    let running = process_control::running(&mut s.conn, &START, Some(&fra1))
        .await
        .unwrap();
    let [attempt] = &running[..] else {
        panic!("{running:?}")
    };
    assert_eq!(attempt.session, session);
    assert!(
        attempts
            .iter()
            .any(|other| other.machine == attempt.machine)
    );
    let asked = stopping(&mut s.conn, &START, session).await.unwrap();
    assert_eq!(
        asked,
        [(
            attempt.fence,
            "ann has paused ShepherdAgentStart: stop".to_owned()
        )]
    );
    assert_eq!(
        process_control::running(&mut s.conn, &START, None)
            .await
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test]
async fn a_resume_counts_silence_where_nobody_listens_only_for_what_recovers_silent_machines() {
    let s = Scenario::new().await;
    s.provided("a").await;
    s.db.run_sql("DELETE FROM agent_listening").await.unwrap();
    let assumed = async |process: &Process| {
        let resume = async |conn: &mut AsyncPgConnection| resume(conn, process, None).await;
        s.change(resume).await.unwrap().assumed
    };
    assert_eq!(assumed(&START).await, []);
    assert_eq!(assumed(&RECOVERY).await, [Provider::EQUINIX]);
    assert_eq!(assumed(&RECOVERY).await, [], "it counts already");
    assert_eq!(
        s.rows("SELECT provider, assumed FROM agent_listening")
            .await,
        ["Equinix|t"]
    );
}

#[tokio::test]
async fn a_process_that_is_switched_off_is_due_nowhere_and_comes_back_as_it_was() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let off = async |s: &Scenario, process: Process| {
        let off = async |conn: &mut AsyncPgConnection| switch_off(conn, &process).await;
        s.change(off).await
    };
    assert!(off(&s, START).await.unwrap());
    assert!(!off(&s, START).await.unwrap(), "it is off already");
    s.write(machine, async |_| Ok(())).await.unwrap();
    assert!(s.claim(&START).await.is_empty());
    let found = process_control::of(&mut s.conn, &START).await.unwrap();
    assert_eq!(
        (found.workflow, found.off_workflow.as_deref()),
        (None, Some("workflow_agent_start"))
    );
    let refused = off(&s, Process::SHEPHERD_ACCESS)
        .await
        .unwrap_err()
        .to_string();
    assert!(
        refused.contains("nothing to switch off: to keep components from starting it, pause it")
    );
    assert!(matches!(
        off(&s, Process::from_static("Typo")).await,
        Err(Error::NoSuchProcess { .. })
    ));

    off(&s, RECOVERY).await.unwrap();
    for process in [START, RECOVERY] {
        let on = async |conn: &mut AsyncPgConnection| switch_on(conn, &process).await;
        assert!(s.change(on).await.unwrap());
    }
    s.write(machine, async |_| Ok(())).await.unwrap();
    assert_eq!(s.claim(&START).await.len(), 1);
    let as_before = "SELECT process, workflow, time_driven FROM process_def WHERE workflow IS NOT NULL ORDER BY 1";
    assert_eq!(
        s.rows(as_before).await,
        [
            "ShepherdAgentStart|workflow_agent_start|f",
            "ShepherdRecovery|workflow_agent_recovery|t"
        ]
    );
}
