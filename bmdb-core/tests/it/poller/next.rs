//! Pollers without notifications: how long they wait, and what ends the wait.

use super::*;

const SECOND: Backoff = Backoff::fixed(Seconds::new(1).unwrap());

/// Never woken by the database.
fn without_listening() -> PollOptions {
    endless_interval().listen(false)
}

#[tokio::test]
async fn due_machines_are_claimed_at_once_up_to_the_limit() {
    let s = Scenario::new().await;
    for id in ["a", "b", "c"] {
        s.provided(id).await;
    }
    let mut poller = s
        .session
        .poller_with(&equinix().limit(1), without_listening());
    let mut claimed = poller.next(2).await.unwrap();
    assert_eq!(claimed.len(), 2);
    claimed.extend(poller.next(9).await.unwrap());
    assert_eq!(claimed.len(), 3);
}

#[tokio::test]
async fn a_machine_is_claimed_when_its_backoff_ends() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    for claim in [equinix(), Claim::of(&START)] {
        s.claim_one().await.fail(&SECOND, "x").await.unwrap();
        let began = Instant::now();
        let waiting = wait(s.session.poller_with(&claim, without_listening()));
        let (machines, at) = woken(waiting).await;
        assert_eq!(machines, [machine]);
        assert!(at - began > Duration::from_millis(800), "{:?}", at - began);
    }
}

#[tokio::test]
async fn a_poller_wakes_for_a_backoff_that_began_while_it_waited() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = s.claim_one().await;
    let waiting = wait(s.session.poller_with(&equinix(), without_listening()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    work.fail(&SECOND, "x").await.unwrap();
    assert_eq!(woken(waiting).await.0, [machine]);
}

#[tokio::test]
async fn a_machine_that_is_given_back_within_the_component_is_claimed_again_at_once() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = s.claim_one().await;
    let waiting = wait(s.session.poller_with(&equinix(), without_listening()));
    tokio::time::sleep(Duration::from_millis(100)).await;
    work.cancel().await.unwrap();
    assert_eq!(woken(waiting).await.0, [machine]);
}

#[tokio::test]
async fn the_deadline_of_a_time_driven_process_bounds_the_wait_even_if_it_was_moved() {
    let s = Scenario::new().await;
    // Due by its plan; by its heartbeat, due in a second.
    let silent = s.db.machine().provided(&Provider::EQUINIX, "a");
    let silent = silent
        .agent_started(HOUR)
        .agent_heartbeat(Duration::from_secs(660));
    let machine = silent.planned().create().await.unwrap();
    s.db.run_sql(
        "UPDATE machine_agent_heartbeat
         SET agent_heartbeat_at = now() - interval '10 min' + interval '1 second'",
    )
    .await
    .unwrap();
    let recovery = Claim::of(&Process::SHEPHERD_RECOVERY).provider(&Provider::EQUINIX);
    let began = Instant::now();
    let (machines, at) = woken(wait(s.session.poller_with(&recovery, without_listening()))).await;
    assert_eq!(machines, [machine]);
    assert!(at - began > Duration::from_millis(700), "{:?}", at - began);
}

#[tokio::test]
async fn an_idle_poller_polls_rarely_with_any_head_of_its_queue() {
    let s = Scenario::new().await;
    let proxy = Proxy::tcp(s.db.url()).await.unwrap();
    let (_bmdb, session) = quiet(proxy.url(), |config| config).await;
    let machine = s.provided("a").await;
    let _work = s.claim_one().await;
    // Nothing; due, and locked by another session; due in an hour.
    let mut other = s.db.connect().await.unwrap();
    for (set, locked) in [
        ("eligible = false", false),
        (
            "session_id = NULL, started_at = NULL, eligible = true",
            true,
        ),
        ("backoff_until = '9999-12-31 00:00:00Z'", false),
    ] {
        let change = format!("UPDATE work_item SET {set} WHERE machine_id = '{machine}'");
        s.db.run_sql(&change).await.unwrap();
        if locked {
            let lock = "BEGIN; SELECT FROM work_item FOR UPDATE";
            diesel_async::SimpleAsyncConnection::batch_execute(&mut other, lock)
                .await
                .unwrap();
        }
        let mut poller = session.poller_with(&equinix(), without_listening());
        let mut requests = [0, 0];
        for counted in &mut requests {
            let idle = tokio::time::timeout(Duration::from_millis(300), poller.next(1)).await;
            assert!(idle.is_err(), "{set}: {idle:?}");
            *counted = proxy.requests();
        }
        assert_eq!(requests[0], requests[1], "{set}: it goes on polling");
        if locked {
            diesel_async::SimpleAsyncConnection::batch_execute(&mut other, "ROLLBACK")
                .await
                .unwrap();
        }
    }
}

#[tokio::test]
async fn empty_polls_become_rarer() {
    let s = Scenario::new().await;
    let proxy = Proxy::tcp(s.db.url()).await.unwrap();
    let (_bmdb, session) = quiet(proxy.url(), |config| config).await;
    let delays = PollOptions::default().poll_interval(Duration::from_millis(1), 24 * HOUR);
    let mut poller = session.poller_with(&equinix(), delays.listen(false));
    let mut polls = Vec::new();
    for _ in 0..2 {
        let before = proxy.requests();
        let idle = tokio::time::timeout(Duration::from_secs(1), poller.next(1)).await;
        assert!(idle.is_err(), "{idle:?}");
        polls.push(proxy.requests() - before);
    }
    // Intervals of 1, 2, 4, … ms: ten fit into the first second, or a few more because of jitter.
    assert!((8..40).contains(&polls[0]), "{polls:?}");
    assert!(polls[1] < polls[0] / 2, "{polls:?}");
}

#[tokio::test]
async fn a_wait_ends_with_the_session() {
    let s = Scenario::new().await;
    for limit in [1, 0] {
        let session = s.another_session().await;
        let mut poller = session.poller_with(&equinix(), without_listening());
        let waiting = tokio::spawn(async move { poller.next(limit).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished());
        session.close().await.unwrap();
        let ended = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
        assert!(matches!(ended, Err(TxError::SessionExpired)), "{ended:?}");
    }
}

#[tokio::test]
async fn a_wait_ends_with_a_session_that_expires() {
    let s = Scenario::new().await;
    let short = SessionOptions::default().interval(Duration::from_secs(1));
    let session = s.bmdb.start_session(short).await.unwrap();
    let waiting = wait(session.poller_with(&equinix(), without_listening()));
    s.db.expire(session.id()).await.unwrap();
    let (ended, _) = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
    assert!(matches!(ended, Err(TxError::SessionExpired)), "{ended:?}");
}

#[tokio::test]
async fn a_wait_ends_without_a_claim_when_the_component_drains() {
    let s = Scenario::new().await;
    let waiting = wait(s.session.poller_with(&equinix(), without_listening()));
    let mut later = s.session.poller_with(&equinix(), without_listening());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!waiting.is_finished());
    s.provided("a").await;
    let (drained, ended) = tokio::join!(s.bmdb.drain(SOON), waiting);
    assert!(drained.unwrap());
    let (ended, _) = ended.unwrap();
    assert!(matches!(ended, Err(TxError::Draining)), "{ended:?}");
    let refused = later.next(1).await;
    assert!(refused.is_err(), "{refused:?}");
    assert_eq!(s.rows("SELECT * FROM work").await, [""; 0]);
}

#[tokio::test]
async fn a_poll_is_answered_even_if_its_future_is_dropped_over_and_over() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let mut poller = s.session.poller_with(&equinix(), without_listening());
    for _ in 0..5 {
        let deadline = Instant::now() + SOON;
        let work = loop {
            let moment = Duration::from_micros(100);
            match tokio::time::timeout(moment, poller.next(1)).await {
                Ok(claimed) => break claimed.unwrap().remove(0),
                Err(_) => assert!(Instant::now() < deadline, "no poll was answered"),
            }
        };
        assert_eq!(work.machine(), machine);
        // A finish would let the machine rest, because it is still due.
        work.cancel().await.unwrap();
    }
    // No claim was lost, and no connection was closed because of one.
    let attempts = "SELECT outcome, sum(repeats + 1) FROM work_attempt GROUP BY outcome";
    assert_eq!(s.rows(attempts).await, ["Canceled|5"]);
    assert_eq!(s.rows("SELECT last_value FROM work_fence").await, ["5"]);
}

impl Scenario {
    /// A poller whose poll has claimed after its future was dropped.
    async fn poller_with_claim(&self) -> Poller {
        let mut poller = self.session.poller_with(&equinix(), without_listening());
        // Lets the poll begin, and no more.
        let begun = tokio::time::timeout(Duration::ZERO, poller.next(1)).await;
        assert!(begun.is_err(), "{begun:?}");
        until(&self.db, "is_called FROM work_fence").await;
        poller
    }
}

#[tokio::test]
async fn a_claim_that_no_call_picks_up_is_given_back() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let mut poller = s.poller_with_claim().await;
    until(&s.db, "count(*) = 0 FROM work").await;
    // The attempt was canceled and recorded.
    let polled = tokio::time::timeout(SOON, poller.next(1)).await;
    assert_eq!(polled.unwrap().unwrap()[0].machine(), machine);
}

#[tokio::test]
async fn a_dropped_poller_gives_its_claim_back() {
    let s = Scenario::new().await;
    s.provided("a").await;
    drop(s.poller_with_claim().await);
    until(&s.db, "count(*) = 0 FROM work").await;
    let mut poller = s.session.poller_with(&equinix(), without_listening());
    let begun = tokio::time::timeout(Duration::ZERO, poller.next(1)).await;
    assert!(begun.is_err(), "{begun:?}");
    drop(poller);
    assert!(s.bmdb.drain(SOON).await.unwrap());
    assert_eq!(s.rows("SELECT * FROM work").await, [""; 0]);
}

#[tokio::test]
async fn machines_beyond_a_smaller_limit_are_given_back() {
    let s = Scenario::new().await;
    for id in ["a", "b", "c"] {
        s.provided(id).await;
    }
    let mut poller = s.session.poller_with(&equinix(), without_listening());
    let begun = tokio::time::timeout(Duration::ZERO, poller.next(3)).await;
    assert!(begun.is_err(), "{begun:?}");
    let claimed = poller.next(1).await.unwrap();
    assert_eq!(claimed.len(), 1);
    until(&s.db, "count(*) = 1 FROM work").await;
}

#[tokio::test]
async fn one_poller_serves_several_providers_in_turn_within_one_limit() {
    let s = Scenario::new().await;
    for (provider, id) in [
        (Provider::EQUINIX, "a"),
        (Provider::EQUINIX, "b"),
        (Provider::LUMEN, "a"),
        (Provider::LUMEN, "b"),
    ] {
        let machine = s.db.machine().provided(&provider, id);
        machine.planned().create().await.unwrap();
    }
    let poller = s.session.poller_with(&equinix(), without_listening());
    let mut poller = poller.and_provider(&Provider::LUMEN);
    let mut claimed = Vec::new();
    let by_provider = "SELECT provider, count(*) FROM work_item WHERE session_id IS NOT NULL
                GROUP BY provider ORDER BY provider";
    for (limit, expected) in [
        (1, ["Equinix|1"].as_slice()),
        (1, &["Equinix|1", "Lumen|1"]),
        (9, &["Equinix|2", "Lumen|2"]),
    ] {
        claimed.extend(poller.next(limit).await.unwrap());
        assert_eq!(s.rows(by_provider).await, expected);
    }
    // The poller waits for all of them, until the earliest.
    let last = claimed.pop().unwrap();
    let hour = Backoff::fixed(Seconds::new(3600).unwrap());
    for work in claimed {
        work.fail(&hour, "x").await.unwrap();
    }
    last.fail(&SECOND, "x").await.unwrap();
    let began = Instant::now();
    let polled = tokio::time::timeout(SOON, poller.next(9)).await;
    assert_eq!(polled.unwrap().unwrap().len(), 1);
    assert!(began.elapsed() > Duration::from_millis(800));
}

#[tokio::test]
async fn a_limit_of_zero_polls_nothing() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let mut poller = s.session.poller_with(&equinix(), PollOptions::default());
    let waited = tokio::time::timeout(Duration::from_millis(200), poller.next(0)).await;
    assert!(waited.is_err(), "{waited:?}");
    assert_eq!(poller.next(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_poller_survives_a_database_that_cannot_be_reached_for_a_while() {
    let s = Scenario::new().await;
    let proxy = Proxy::tcp(s.db.url()).await.unwrap();
    let (_bmdb, session) = quiet(proxy.url(), |mut config| {
        config.connect_timeout = Duration::from_millis(100);
        config
    })
    .await;
    proxy.refuse();
    let options = PollOptions::default().listen(false);
    let waiting = wait(session.poller_with(&equinix(), options));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    let machine = s.provided("a").await;
    proxy.heal().unwrap();
    assert_eq!(woken(waiting).await.0, [machine]);
}

#[tokio::test]
async fn an_error_that_does_not_pass_is_returned() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let mut poller = s.session.poller_with(&equinix(), PollOptions::default());
    s.db.run_sql("ALTER TABLE work_item RENAME TO elsewhere")
        .await
        .unwrap();
    let refused = poller.next(1).await;
    assert!(matches!(refused, Err(TxError::Database(_))), "{refused:?}");
    s.db.run_sql("ALTER TABLE elsewhere RENAME TO work_item")
        .await
        .unwrap();
    assert_eq!(poller.next(1).await.unwrap().len(), 1);
}

#[tokio::test]
async fn failing_machines_are_retried_when_their_backoffs_end() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let mut poller = s.session.poller_with(&equinix(), without_listening());
    let mut intervals = Vec::new();
    for _ in 0..3 {
        let polled = tokio::time::timeout(SOON, poller.next(1)).await;
        let work = polled
            .expect("the poller slept through a backoff")
            .unwrap()
            .remove(0);
        intervals.push(work.fail(&RETRY, "x").await.unwrap().interval.get());
    }
    assert_eq!(intervals, [1, 2, 4]);
}
