//! Attempt counts: every start and end is counted once, without extra statements for claims and ends.

use crate::batch::{Fleet, START};
use crate::scenario::{RETRY, Scenario, counted, unwritten};
use crate::wait::until;
use bmdb_core::{Bmdb, Claim, Config, SessionOptions};
use bmdb_model::Provider;
use bmdb_model::attempt_counts;
use bmdb_model::history::Event;
use bmdb_testkit::{Proxy, TestDb};
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

async fn component(db: &TestDb, interval: Option<Duration>) -> Bmdb {
    let config = Config::new(db.url()).attempt_counts_interval(interval);
    Bmdb::connect(config.janitor_interval(None)).await.unwrap()
}

/// The written counts of a process, by event.
async fn written(db: &TestDb) -> Vec<(Event, i64)> {
    let mut conn = db.connect().await.unwrap();
    let minutes = attempt_counts::last_minutes(&mut conn, 60).await.unwrap();
    let mut counts: Vec<(Event, i64)> = Vec::new();
    for minute in minutes {
        assert_eq!(minute.process, START);
        match counts.iter_mut().find(|(event, _)| *event == minute.event) {
            Some((_, count)) => *count += minute.count,
            None => counts.push((minute.event, minute.count)),
        }
    }
    counts.sort_by_key(|(event, _)| event.as_str());
    counts
}

/// The same counts from the history, as an independent source.
async fn recorded(db: &TestDb) -> Vec<String> {
    let attempts = "SELECT outcome, sum(repeats + 1) FROM work_attempt GROUP BY 1
                    UNION ALL SELECT 'Started', (SELECT sum(repeats + 1) FROM work_attempt) +
                        (SELECT count(*) FROM work_item WHERE session_id IS NOT NULL)
                    ORDER BY 1";
    db.rows(attempts).await.unwrap()
}

fn lines(counts: &[(Event, i64)]) -> Vec<String> {
    let lines = counts
        .iter()
        .map(|(event, count)| format!("{event}|{count}"));
    lines.collect()
}

#[tokio::test]
async fn every_kind_of_end_is_counted_once_and_written_by_draining() {
    let s = Scenario::new().await;
    for id in 0..20 {
        s.provided(&id.to_string()).await;
    }
    let bmdb = component(&s.db, Some(HOUR)).await;
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let claim = Claim::of(&START).provider(&Provider::EQUINIX).limit(20);
    let mut claimed = session.claim(&claim).await.unwrap();
    assert_eq!(claimed.len(), 20);
    let mut next = || claimed.remove(0);
    next().finish(async |_| Ok(())).await.unwrap();
    next().complete().await.unwrap();
    next().fail(&RETRY, "x").await.unwrap();
    next().cancel().await.unwrap();
    let pipelined = [next(), next(), next()].map(|work| (work, &RETRY, "y"));
    for failed in session.fail_all(pipelined).await {
        failed.unwrap();
    }
    for finished in session.finish_all(unwritten([next(), next()])).await {
        finished.unwrap();
    }
    drop((next(), next()));
    let lost = next();
    // Draining cancels the work that is still claimed.
    assert!(!bmdb.drain(Duration::ZERO).await.unwrap());
    assert!(lost.cancel().await.is_err());
    drop(claimed);
    let counts = written(&s.db).await;
    assert_eq!(lines(&counts), recorded(&s.db).await);
    let expected = [
        (Event::Canceled, 12),
        (Event::Failed, 4),
        (Event::Finished, 4),
        (Event::Started, 20),
    ];
    assert_eq!(counts, expected);
}

#[tokio::test]
async fn expired_attempts_are_counted_by_the_janitor_that_frees_them() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let work = s.claim_one().await;
    s.db.expire(s.session.id()).await.unwrap();
    let janitor = component(&s.db, Some(HOUR)).await;
    janitor.janitor_turn().await.unwrap();
    janitor.drain(Duration::ZERO).await.unwrap();
    assert_eq!(written(&s.db).await, [(Event::Expired, 1)]);
    assert!(work.complete().await.is_err());
    s.bmdb.drain(Duration::ZERO).await.unwrap();
    let both = [(Event::Expired, 1), (Event::Started, 1)];
    assert_eq!(written(&s.db).await, both);
}

#[tokio::test]
async fn the_counts_of_concurrent_components_match_the_history() {
    let fleet = Scenario::new().await;
    for id in 0..30 {
        fleet.provided(&id.to_string()).await;
    }
    let mut workers = Vec::new();
    for _ in 0..4 {
        let bmdb = component(&fleet.db, Some(Duration::from_millis(20))).await;
        workers.push(tokio::spawn(async move {
            let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
            let claim = Claim::of(&START).provider(&Provider::EQUINIX).limit(5);
            for round in 0..30 {
                for (i, work) in session.claim(&claim).await.unwrap().into_iter().enumerate() {
                    match (round + i) % 3 {
                        0 => work.complete().await.unwrap(),
                        1 => work.cancel().await.unwrap(),
                        _ => drop(work),
                    }
                }
            }
            bmdb.drain(Duration::from_secs(5)).await.unwrap();
        }));
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let recorded = recorded(&fleet.db).await;
    assert_eq!(recorded.len(), 3, "{recorded:?}");
    assert_eq!(lines(&written(&fleet.db).await), recorded);
}

#[tokio::test]
async fn closing_the_last_session_writes_the_counts() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let bmdb = component(&s.db, Some(HOUR)).await;
    let options = SessionOptions::default;
    let (first, last) = (
        bmdb.start_session(options()).await.unwrap(),
        bmdb.start_session(options()).await.unwrap(),
    );
    let work = first.claim(&Claim::of(&START)).await.unwrap().remove(0);
    work.fail(&RETRY, "x").await.unwrap();
    first.close().await.unwrap();
    assert_eq!(written(&s.db).await, []);
    last.close().await.unwrap();
    let both = [(Event::Failed, 1), (Event::Started, 1)];
    assert_eq!(written(&s.db).await, both);
}

#[tokio::test]
async fn counting_costs_no_request_and_writing_costs_one() {
    let fleet = Fleet::of(50).await;
    for work in fleet.claim(1).await {
        work.cancel().await.unwrap();
    }
    let before = fleet.proxy.round_trips();
    let claimed = fleet.claim(50).await;
    for ended in fleet.session.cancel_all(claimed).await {
        ended.unwrap();
    }
    assert_eq!(fleet.proxy.round_trips() - before, 2, "a claim and an end");
}

#[tokio::test]
async fn an_idle_component_writes_nothing() {
    let s = Scenario::new().await;
    let (proxy, bmdb, session) = counted(&s.db).await;
    let before = proxy.requests();
    let claim = Claim::of(&START).provider(&Provider::EQUINIX);
    assert!(session.claim(&claim).await.unwrap().is_empty());
    bmdb.drain(Duration::ZERO).await.unwrap();
    let requests = proxy.requests() - before;
    drop(session);
    s.provided("a").await;
    let (proxy, bmdb, session) = counted(&s.db).await;
    let before = proxy.requests();
    let work = session.claim(&claim).await.unwrap().remove(0);
    work.cancel().await.unwrap();
    bmdb.drain(Duration::ZERO).await.unwrap();
    // The second component also sends an end and writes its counts.
    let busy = proxy.requests() - before;
    assert!(
        busy > requests && requests > 0,
        "{requests} without counts to write, {busy} with it"
    );
    assert_eq!(s.rows("SELECT sum(count) FROM attempt_tally").await, ["2"]);
}

#[tokio::test]
async fn counts_that_could_not_be_written_are_written_later() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let bmdb = component(&s.db, Some(Duration::from_millis(10))).await;
    s.db.run_sql("ALTER TABLE attempt_tally RENAME TO tally_away")
        .await
        .unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let work = session.claim(&Claim::of(&START)).await.unwrap().remove(0);
    tokio::time::sleep(Duration::from_millis(50)).await;
    s.db.run_sql("ALTER TABLE tally_away RENAME TO attempt_tally")
        .await
        .unwrap();
    until(&s.db, "sum(count) = 1 FROM attempt_tally").await;
    work.cancel().await.unwrap();
    until(&s.db, "sum(count) = 2 FROM attempt_tally").await;
}

/// Post-mortem: a component whose first write found no database never wrote again, because counts that had
/// not been taken were not announced again.
#[tokio::test]
async fn counts_from_an_outage_are_written_after_it() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let proxy = Proxy::unix(s.db.url()).await.unwrap();
    let config = Config::new(proxy.url()).janitor_interval(None);
    let interval = Some(Duration::from_millis(200));
    let bmdb = Bmdb::connect(config.attempt_counts_interval(interval))
        .await
        .unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let _work = session.claim(&Claim::of(&START)).await.unwrap();
    proxy.refuse();
    proxy.cut();
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.heal().unwrap();
    until(&s.db, "sum(count) = 1 FROM attempt_tally").await;
}

#[tokio::test]
async fn the_time_that_a_machine_was_due_is_written_with_its_start() {
    let s = Scenario::new().await;
    s.provided("a").await;
    s.advance(60).await;
    let bmdb = component(&s.db, Some(HOUR)).await;
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let work = session.claim(&Claim::of(&START)).await.unwrap().remove(0);
    bmdb.drain(Duration::ZERO).await.unwrap();
    drop(work);
    let waited = "SELECT waits, waited_ms BETWEEN 60000 AND 90000 FROM attempt_tally
                  WHERE event = 'Started'";
    assert_eq!(s.rows(waited).await, ["1|t"]);
}

#[tokio::test]
async fn a_component_with_counting_disabled_counts_nothing() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let bmdb = component(&s.db, None).await;
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let work = session.claim(&Claim::of(&START)).await.unwrap().remove(0);
    work.cancel().await.unwrap();
    bmdb.drain(Duration::from_secs(5)).await.unwrap();
    assert_eq!(s.rows("SELECT count(*) FROM attempt_tally").await, ["0"]);
}
