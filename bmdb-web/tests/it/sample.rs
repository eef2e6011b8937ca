//! Sampler: counts the fleet in the background, and keeps the last sample that succeeded.

use bmdb_core::{Config, Reader};
use bmdb_model::{Process, ProcessDef, Provider};
use bmdb_testkit::{Proxy, Role, TestDb};
use bmdb_web::{Latest, SampleOptions, Sampler};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The shortest interval.
fn often() -> SampleOptions {
    SampleOptions::default().interval(Duration::from_secs(1))
}

async fn reader(url: &str) -> Reader {
    let mut config = Config::new(url).pool_size(1);
    config.connect_timeout = Duration::from_millis(500);
    Reader::connect(config).await.unwrap()
}

async fn until(sampler: &Sampler, what: impl Fn(&Latest) -> bool) -> Latest {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let latest = sampler.latest();
        if what(&latest) {
            return latest;
        }
        assert!(Instant::now() < deadline, "never: {latest:?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn idle_processes_are_counted_too() {
    let db = TestDb::new().await.unwrap();
    let machine = db.machine().provided(&Provider::EQUINIX, "a").planned();
    machine.create().await.unwrap();
    let sampler = Sampler::start(reader(db.url()).await, often());
    let sample = sampler.first().await.sample.unwrap();
    assert_eq!((sample.fleet.machines, sample.fleet.provided), (1, 1));
    let names: Vec<&str> = sample
        .processes
        .iter()
        .map(|counts| counts.process.as_str())
        .collect();
    assert_eq!(
        names,
        ["ShepherdAccess", "ShepherdAgentStart", "ShepherdRecovery"]
    );
    let pending = |process| sample.pending_for(process).map(|pending| pending.machines);
    assert_eq!(pending(&Process::SHEPHERD_AGENT_START), Some(1));
    assert_eq!(pending(&Process::SHEPHERD_RECOVERY), Some(0));
    assert_eq!(pending(&Process::SHEPHERD_ACCESS), None);
    assert_eq!(sample.uncounted, []);
    let access = sample.processes.first().unwrap();
    assert_eq!((access.waiting, access.not_eligible), (0, 1));
}

#[tokio::test]
async fn the_last_sample_is_kept_while_the_database_is_unavailable() {
    let db = TestDb::new().await.unwrap();
    let proxy = Proxy::unix(db.url()).await.unwrap();
    let sampler = Sampler::start(reader(proxy.url()).await, often());
    let first = sampler.first().await.sample.unwrap();
    db.machine().create().await.unwrap();
    let second = until(&sampler, |latest| {
        latest
            .sample
            .as_ref()
            .is_some_and(|sample| sample.fleet.machines == 1)
    });
    assert!(second.await.sample.unwrap().age() < first.age());
    proxy.refuse();
    let failed = until(&sampler, |latest| latest.error.is_some()).await;
    assert_eq!(failed.sample.as_ref().unwrap().fleet.machines, 1);
    let age = failed.sample.unwrap().age();
    proxy.heal().unwrap();
    let healed = until(&sampler, |latest| latest.error.is_none()).await;
    assert!(healed.sample.unwrap().age() < age);
}

#[tokio::test]
async fn a_sample_that_times_out_leaves_no_connection_open() {
    let db = TestDb::new().await.unwrap();
    let proxy = Proxy::unix(db.url()).await.unwrap();
    let reader = reader(proxy.url()).await;
    proxy.black_hole();
    let options = often().timeout(Duration::from_secs(2));
    let sampler = Sampler::start(reader, options);
    let first = sampler.first().await;
    assert!(first.sample.is_none());
    assert!(first.error.is_some(), "{first:?}");
    proxy.heal().unwrap();
    until(&sampler, |latest| latest.sample.is_some()).await;
    assert!(proxy.connections() <= 1, "{}", proxy.connections());
}

#[tokio::test]
async fn a_dropped_view_only_affects_its_own_process() {
    let db = TestDb::new().await.unwrap();
    let url = db.url_as(Role::Owner).await.unwrap();
    let owner = bmdb_core::Bmdb::connect(Config::new(url).janitor_interval(None))
        .await
        .unwrap();
    db.run_sql(
        "SET ROLE bmdb_owner;
         CREATE VIEW workflow_paint AS SELECT machine_id, provider, NULL::timestamptz AS ready_at
         FROM machine_provided",
    )
    .await
    .unwrap();
    let paint = Process::new("Paint").unwrap();
    let definition = ProcessDef::new(paint.clone()).workflow("workflow_paint");
    owner.define_process(&definition).await.unwrap();
    let sampler = Sampler::start(reader(db.url()).await, often());
    let sample = sampler.first().await.sample.unwrap();
    assert_eq!(
        sample.pending_for(&paint).map(|pending| pending.machines),
        Some(0)
    );
    db.run_sql("SET ROLE bmdb_owner; DROP VIEW workflow_paint")
        .await
        .unwrap();
    let is_uncounted = |latest: &Latest| {
        latest
            .sample
            .as_ref()
            .is_some_and(|sample| !sample.uncounted.is_empty())
    };
    let sample = until(&sampler, is_uncounted).await.sample.unwrap();
    assert_eq!(sample.uncounted[0].0, paint);
    assert!(sample.pending_for(&Process::SHEPHERD_AGENT_START).is_some());
    assert_eq!(sample.pending_for(&paint), None);
}

#[tokio::test]
async fn a_sampler_ends_with_its_last_clone_and_keeps_no_lock() {
    let db = TestDb::new().await.unwrap();
    let sampler = Sampler::start(reader(db.url()).await, often());
    let clone = sampler.clone();
    sampler.first().await;
    drop(sampler);
    let count = |latest: &Latest| latest.sample.as_ref().unwrap().fleet.machines;
    db.machine().create().await.unwrap();
    until(&clone, |latest| count(latest) == 1).await;
    let locks = "SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
                 WHERE a.datname = current_database() AND a.pid <> pg_backend_pid()
                   AND l.mode NOT IN ('AccessShareLock', 'ExclusiveLock')";
    assert_eq!(db.rows(locks).await.unwrap(), ["0"]);
    let weak = clone
        .latest()
        .sample
        .map(|sample| std::sync::Arc::downgrade(&sample))
        .unwrap();
    drop(clone);
    let deadline = Instant::now() + Duration::from_secs(5);
    while weak.upgrade().is_some() {
        assert!(Instant::now() < deadline, "the task still runs");
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn every_tag_is_counted_and_a_failure_only_affects_its_own_tag() {
    let db = TestDb::new().await.unwrap();
    let machine = db.machine().provided(&Provider::EQUINIX, "a");
    machine.create().await.unwrap();
    // The first login grants the viewer's privileges; those on the new table are revoked.
    let url = db.url_as(Role::Viewer).await.unwrap();
    db.run_sql(
        "CREATE TABLE \"<b>rack\" (machine_id uuid PRIMARY KEY REFERENCES machines);
         INSERT INTO \"<b>rack\" SELECT machine_id FROM machines;
         GRANT SELECT ON \"<b>rack\" TO PUBLIC;
         CREATE TABLE secret (machine_id uuid PRIMARY KEY REFERENCES machines);
         REVOKE ALL ON secret FROM PUBLIC, bmdb_viewer;
         CREATE TABLE walled (machine_id uuid PRIMARY KEY REFERENCES machines, a int);
         ALTER TABLE walled ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
         CREATE POLICY broken ON walled USING (1 / (a - a) = 1);
         INSERT INTO walled SELECT machine_id, 1 FROM machines;
         GRANT SELECT ON walled TO PUBLIC",
    )
    .await
    .unwrap();
    let sampler = Sampler::start(reader(&url).await, often());
    let sample = sampler.first().await.sample.unwrap();
    let counted = |name: &str| {
        let tag = sample.tags.iter().find(|(table, _)| table == name);
        tag.map(|(_, machines)| *machines)
    };
    assert_eq!(counted("<b>rack"), Some(1));
    assert_eq!(counted("machine_provided"), Some(1));
    assert_eq!(counted("machine_hold"), Some(0));
    let [secret, walled] = sample.uncounted_tags.as_slice() else {
        panic!("{:?}", sample.uncounted_tags);
    };
    assert!(secret.0 == "secret" && secret.1.contains("may not read"));
    assert!(walled.0 == "walled" && walled.1.contains("division by zero"));
}
