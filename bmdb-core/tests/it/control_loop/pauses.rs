//! Pauses that stop what runs.

use super::{AGES, Does, Running, options};
use crate::scenario::Scenario;
use bmdb_core::SessionOptions;
use bmdb_core::control_loop::{Commit, Failure};
use bmdb_core::operator::{Operator, PauseOptions};
use bmdb_model::{Process, Provider};
use std::time::Duration;

const START: Process = Process::SHEPHERD_AGENT_START;

#[tokio::test]
async fn a_pause_stops_the_attempts_of_its_machines_and_gives_them_back() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let elsewhere = s.db.machine().provided(&Provider::LUMEN, "b").planned();
    elsewhere.create().await.unwrap();
    let does = Does::new(|_, machine| {
        Box::pin(async {
            machine.stop().cancelled().await;
            let provider = &machine.provided.as_ref().unwrap().provider;
            assert_eq!(*provider, Provider::EQUINIX, "nothing stops the other one");
            Err::<Commit, _>(Failure::cancel())
        })
    });
    let short = SessionOptions::default().interval(Duration::from_secs(1));
    let running = Running::new(&s.bmdb, does, options().session(short).grace(AGES));
    running.started(2).await;
    let ann = Operator::new("ann").reason("a wrong image");
    let pause = PauseOptions::default().provider(Provider::EQUINIX);
    ann.pause(&s.session, &START, &pause.clone()).await.unwrap();
    // Two looks, and what runs goes on.
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!(running.log.lines().len(), 3, "{:?}", running.log.lines());
    ann.pause(&s.session, &START, &pause.stop_running(true))
        .await
        .unwrap();
    running.logs("Canceled", 1).await;
    let still = "SELECT provider FROM work_item WHERE session_id IS NOT NULL AND process = 'ShepherdAgentStart'";
    while s.rows(still).await != ["Lumen"] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    running.shutdown.cancel_now();
    running.ran.abort();
}
