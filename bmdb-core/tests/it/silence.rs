//! A fleet that falls silent, under the limits that recovery is shipped with.

use crate::scenario::Scenario;
use bmdb_core::operator::Operator;
use bmdb_core::{Claim, Session, Work};
use bmdb_model::Process;
use bmdb_testkit::TestDb;

const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

/// 200 machines of one provider, the first of which are silent, and four programs.
async fn silent(count: usize) -> (Scenario, Vec<Session>) {
    let scenario = Scenario::with_limits(TestDb::new().await.unwrap()).await;
    scenario.import(200).await;
    scenario
        .db
        .run_sql(&format!(
            "INSERT INTO machine_agent_started
             SELECT machine_id, now() - CASE WHEN provider_id::integer < {count}
                                             THEN interval '41 minutes' ELSE '0' END, 'key'
             FROM machine_provided"
        ))
        .await
        .unwrap();
    scenario.bmdb.replan().await.unwrap();
    let mut programs = Vec::new();
    for _ in 0..4 {
        programs.push(scenario.another_session().await);
    }
    (scenario, programs)
}

/// What the programs get when each asks for eight machines.
async fn claim(programs: &[Session]) -> Vec<Work> {
    let mut claimed = Vec::new();
    for program in programs {
        let of_one = program.claim(&Claim::of(&RECOVERY).limit(8)).await;
        claimed.extend(of_one.unwrap());
    }
    claimed
}

/// How many machines they recover until they get no more, with a body that takes no time. At most as many as
/// the limit allows are claimed at once.
async fn recover(programs: &[Session]) -> usize {
    let mut recovered = 0;
    loop {
        let claimed = claim(programs).await;
        if claimed.is_empty() {
            return recovered;
        }
        assert!(claimed.len() <= 5, "{} machines at once", claimed.len());
        recovered += claimed.len();
        for work in claimed {
            let machine = work.machine();
            let started = bmdb_model::AgentStarted::now("rebooted");
            let finished = work.finish(async |tx| tx.set_agent_started(machine, &started).await);
            finished.await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_silent_fleet_is_left_alone_until_a_person_resumes_and_then_recovered_slowly() {
    let (scenario, programs) = silent(200).await;
    assert_eq!(recover(&programs).await, 0);
    let paused = "SELECT provider, source, reason FROM process_pause";
    assert_eq!(
        scenario.rows(paused).await,
        ["Equinix|Breaker|200 of 200 machines need it at once, more than 10"]
    );
    scenario.advance(86_400).await;
    assert_eq!(recover(&programs).await, 0, "nobody has resumed it");

    let ann = Operator::new("ann@desk").reason("a switch has died: slowly");
    ann.resume(&scenario.session, &RECOVERY, None)
        .await
        .unwrap();
    for _ in 0..3 {
        assert_eq!(recover(&programs).await, 10);
        assert_eq!(recover(&programs).await, 0);
        scenario.advance(602).await;
    }
}

#[tokio::test]
async fn three_percent_of_a_fleet_are_recovered_without_anybody() {
    let (scenario, programs) = silent(6).await;
    assert_eq!(recover(&programs).await, 6);
    assert_eq!(scenario.rows("SELECT FROM process_pause").await.len(), 0);
}
