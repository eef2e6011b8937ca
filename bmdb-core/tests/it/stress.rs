//! Everything at once for some seconds, then an independent judge reads the log.

mod worker;

use crate::scenario::RETRY;
use bmdb_core::{Bmdb, Config, History, SessionOptions};
use bmdb_model::{MachineId, Process, ProcessDef, Provided, Provider, process};
use bmdb_testkit::TestDb;
use bmdb_testkit::audit::{Rules, audit};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use worker::{Fleet, Worker};

const RUN: Duration = Duration::from_secs(5);
const COMPONENTS: usize = 3;
const WORKERS: usize = 10;
const MACHINES: usize = 40;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_workers_on_one_lane_of_forty_machines_never_break_a_rule() {
    let db = Arc::new(TestDb::new().await.unwrap());
    lose_briefly(&db).await;
    let mut components = Vec::new();
    for _ in 0..COMPONENTS {
        components.push(connect(&db).await);
    }
    let machines = provide(&components[0]).await;
    let fleet = Arc::new(Fleet::new(db.clone(), machines, Instant::now() + RUN));

    let janitor = tokio::spawn(free_lost_work(components[0].clone()));
    let workers: Vec<_> = (0..WORKERS)
        .map(|number| {
            let bmdb = components[number % COMPONENTS].clone();
            tokio::spawn(Worker::new(number, bmdb, fleet.clone()).run())
        })
        .collect();
    for worker in workers {
        worker.await.unwrap();
    }
    janitor.abort();
    assert!(janitor.await.unwrap_err().is_cancelled());
    for bmdb in &components {
        bmdb.drain(Duration::from_secs(5)).await.unwrap();
    }
    components[0].free_lost_work().await.unwrap();

    let mut rules = Rules::new(RETRY);
    rules.claimed = Some(fleet.claimed());
    let audit = audit(db.url(), &rules).await.unwrap();
    assert!(audit.is_clean(), "{audit}");
    // Otherwise the run has shown nothing.
    let outcomes = [audit.finished, audit.failed, audit.canceled, audit.expired];
    assert!(!outcomes.contains(&0), "{audit}");
    assert!(audit.attempts > MACHINES, "{audit}");
    assert_eq!(stale_plans(&db).await, [""; 0]);
}

/// Losses that delay the next try by 1 or 2 s, so that lost machines take part again.
async fn lose_briefly(db: &TestDb) {
    let mut conn = db.connect().await.unwrap();
    for name in [Process::SHEPHERD_AGENT_START, Process::SHEPHERD_ACCESS] {
        let definition = process::of(&mut conn, &name).await.unwrap();
        let brief: ProcessDef = definition.loss_delay(1, 2);
        process::define(&mut conn, &brief).await.unwrap();
    }
}

async fn connect(db: &TestDb) -> Bmdb {
    let config = Config::new(db.url())
        .component("test")
        .history(History::Full)
        .janitor_interval(None);
    Bmdb::connect(config).await.unwrap()
}

async fn provide(bmdb: &Bmdb) -> Vec<MachineId> {
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    session
        .transact(async |tx| {
            let mut machines = Vec::new();
            for number in 0..MACHINES {
                let machine = tx.create_machine().await?;
                let provided = Provided::new(Provider::EQUINIX, number.to_string());
                tx.set_provided(machine, &provided).await?;
                machines.push(machine);
            }
            Ok(machines)
        })
        .await
        .unwrap()
}

async fn free_lost_work(bmdb: Bmdb) {
    loop {
        bmdb.free_lost_work().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Items that a planning from scratch would write differently.
async fn stale_plans(db: &TestDb) -> Vec<String> {
    db.rows(
        "SELECT machine_id, process, eligible FROM work_item i
         WHERE process = 'ShepherdAgentStart' AND eligible IS DISTINCT FROM (
             EXISTS (SELECT FROM workflow_agent_start w WHERE w.machine_id = i.machine_id)
             AND NOT EXISTS (SELECT FROM machine_hold h WHERE h.machine_id = i.machine_id))",
    )
    .await
    .unwrap()
}
