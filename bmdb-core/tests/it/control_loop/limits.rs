//! Limits of a loop: parallelism, batch, rate, timeout, and once.

use super::{Does, Running, once, options};
use crate::batch::Fleet;
use crate::scenario::Scenario;
use crate::wait::until;
use bmdb_core::control_loop::{Commit, LoopError, LoopOptions, Rate, Runner, Shutdown};
use bmdb_core::{Bmdb, Claim, Config, PollOptions, SessionOptions};
use bmdb_model::{Process, Provider};
use bmdb_testkit::{Proxy, TestDb};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// A loop whose attempts wait at a gate.
fn gated(gate: &Arc<Semaphore>, inside: &Arc<AtomicUsize>, most: &Arc<AtomicUsize>) -> Does {
    let (gate, inside, most) = (gate.clone(), inside.clone(), most.clone());
    Does::new(move |_, _| {
        let (gate, inside, most) = (gate.clone(), inside.clone(), most.clone());
        Box::pin(async move {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            gate.acquire().await.unwrap().forget();
            inside.fetch_sub(1, Ordering::SeqCst);
            Ok(Commit::unchanged())
        })
    })
}

#[tokio::test]
async fn parallelism_limits_the_attempts_that_run() {
    let s = Scenario::new().await;
    for id in 0..20 {
        s.provided(&id.to_string()).await;
    }
    let (gate, most) = (Arc::new(Semaphore::new(0)), Arc::default());
    let inside: Arc<AtomicUsize> = Arc::default();
    let options = options().parallelism(4).once(true);
    let running = Running::new(&s.bmdb, gated(&gate, &inside, &most), options);
    while inside.load(Ordering::SeqCst) < 4 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    gate.add_permits(usize::from(u16::MAX));
    let summary = running.ended().await;
    assert_eq!(summary.finished, 20);
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[tokio::test]
async fn batch_limits_the_machines_of_one_claim() {
    let s = Scenario::new().await;
    for id in 0..5 {
        s.provided(&id.to_string()).await;
    }
    let gate = Arc::new(Semaphore::new(0));
    let does = gated(&gate, &Arc::default(), &Arc::default());
    let slow: Rate = "1/m,burst=4".parse().unwrap();
    // Each poll needs two permits, one for each provider.
    let running = Running::new(&s.bmdb, does, options().batch(2).rate(Some(slow)));
    let four = "count(*) = 4 FROM work_item WHERE session_id IS NOT NULL";
    until(&s.db, four).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    until(&s.db, four).await;
    gate.add_permits(4);
    running.stop().await;
}

/// The round trips of a loop until all machines of a fleet wait at the gate.
async fn round_trips_until_all_are_inside(machines: u32) -> u64 {
    let fleet = Fleet::of(machines).await;
    let gate = Arc::new(Semaphore::new(0));
    let inside: Arc<AtomicUsize> = Arc::default();
    let does = gated(&gate, &inside, &Arc::default());
    let quiet = SessionOptions::default().interval(Duration::from_secs(86_400));
    let before = fleet.proxy.round_trips();
    let options = options().parallelism(machines).session(quiet);
    let running = Running::new(&fleet.bmdb, does, options);
    while inside.load(Ordering::SeqCst) < usize::try_from(machines).unwrap() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let sent = fleet.proxy.round_trips() - before;
    gate.add_permits(usize::from(u16::MAX));
    running.stop().await;
    sent
}

#[tokio::test]
async fn many_machines_are_read_in_one_statement() {
    let (one, twenty) = (
        round_trips_until_all_are_inside(1).await,
        round_trips_until_all_are_inside(20).await,
    );
    // One more, because with a limit of one the second provider is not asked.
    assert!(twenty <= one + 1, "{one} for one, {twenty} for twenty");
}

/// The round trips of a loop until it has claimed so many machines one after the other, and failed all but
/// the last.
async fn round_trips_of_failures(machines: usize) -> u64 {
    let fleet = Fleet::of(60).await;
    let (begun, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (counted, last) = (begun.clone(), gate.clone());
    let does = Does::new(move |_, machine| {
        assert!(machine.provided.is_some());
        let is_last = counted.fetch_add(1, Ordering::SeqCst) + 1 == machines;
        let last = last.clone();
        Box::pin(async move {
            if is_last {
                last.acquire().await.unwrap().forget();
            }
            Err("no answer".into())
        })
    });
    let quiet = SessionOptions::default().interval(Duration::from_secs(86_400));
    let options = options().parallelism(1).session(quiet);
    let before = fleet.proxy.round_trips();
    let running = Running::new(&fleet.bmdb, does, options);
    while begun.load(Ordering::SeqCst) < machines {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let sent = fleet.proxy.round_trips() - before;
    gate.add_permits(1);
    running.stop().await;
    sent
}

#[tokio::test]
async fn a_machine_is_read_with_its_claim() {
    let few = round_trips_of_failures(10).await;
    let more = round_trips_of_failures(30).await;
    // A claim and a failure each. Every other claim asks the second provider first, whose queue is empty.
    assert!(
        more - few <= 20 * 2 + 10,
        "{few} for ten, {more} for thirty"
    );
}

/// The round trips of an idle loop with this burst, and a rate that allows hardly any more.
async fn round_trips_of_an_idle_loop(db: &TestDb, burst: u32) -> u64 {
    let proxy = Proxy::unix(db.url()).await.unwrap();
    let config = Config::new(proxy.url()).janitor_interval(None);
    let bmdb = Bmdb::connect(config).await.unwrap();
    let rate: Rate = format!("1/m,burst={burst}").parse().unwrap();
    let quick = PollOptions::default()
        .poll_interval(Duration::from_millis(1), Duration::from_millis(1))
        .listen(false);
    let quiet = SessionOptions::default().interval(Duration::from_secs(86_400));
    let options = options().rate(Some(rate)).poll(quick).session(quiet);
    let does = Does::new(|_, _| Box::pin(async { Ok(Commit::unchanged()) }));
    let running = Running::new(&bmdb, does, options);
    let mut sent = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let now = proxy.round_trips();
        if now == sent {
            break;
        }
        sent = now;
    }
    running.stop().await;
    sent
}

#[tokio::test]
async fn the_rate_limits_the_claims() {
    let s = Scenario::new().await;
    let few = round_trips_of_an_idle_loop(&s.db, 4).await;
    let more = round_trips_of_an_idle_loop(&s.db, 44).await;
    // The first polls prepare statements, with either burst, and a slow one may look for listeners.
    let further = more - few;
    assert!((30..=50).contains(&further), "{few}, then {more}");
}

#[tokio::test]
async fn a_timeout_is_a_failure() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let stopped = Arc::new(Semaphore::new(0));
    let seen = stopped.clone();
    let does = Does::new(move |_, machine| {
        let seen = seen.clone();
        Box::pin(async move {
            machine.stop().cancelled().await;
            seen.add_permits(1);
            // A result would not count any more, and the loop does not wait for it.
            std::future::pending::<()>().await;
            Ok(Commit::unchanged())
        })
    });
    let limit = Duration::from_millis(20);
    let runner = Runner::new(&s.bmdb, does).options(options().once(true).timeout(Some(limit)));
    let summary = runner.run(Shutdown::new()).await.unwrap();
    assert_eq!((summary.claimed, summary.failed), (1, 1));
    assert_eq!(s.attempts().await, ["Failed|timed out after 20ms|1"]);
    assert_eq!(stopped.available_permits(), 1);
}

#[tokio::test]
async fn with_once_each_machine_is_processed_once() {
    let s = Scenario::new().await;
    for id in ["a", "b", "c"] {
        s.provided(id).await;
    }
    // Each finish leaves its machine due again at once.
    let does = Does::new(|_, _| Box::pin(async { Ok(Commit::unchanged()) }));
    let runner = Runner::new(&s.bmdb, does).options(options().once(true).parallelism(1));
    let summary = runner.run(Shutdown::new()).await.unwrap();
    assert_eq!(summary.finished, 3);
    let claimed = s.rows("SELECT count(*) FROM work").await;
    assert_eq!(claimed, ["0"]);
    let once_each = "SELECT DISTINCT count(*) FROM work_attempt WHERE outcome = 'Finished'
                     GROUP BY machine_id";
    assert_eq!(s.rows(once_each).await, ["1"]);
}

/// Post-mortem: the loop ended after the first poll, because one provider's next deadline hid what was
/// due of the other provider.
#[tokio::test]
async fn with_once_due_machines_are_found_behind_any_number_that_only_seem_due() {
    let s = Scenario::new().await;
    s.armed_of(&Provider::EQUINIX, 1, 0).await;
    s.armed_of(&Provider::LUMEN, 5050, 1).await;
    let mut does = Does::new(|_, _| Box::pin(async { Ok(Commit::unchanged()) }));
    does.process = Process::SHEPHERD_RECOVERY;
    // Replanned, it has a deadline in the future.
    let claim = Claim::of(&does.process).provider(&Provider::EQUINIX);
    assert!(s.session.claim(&claim).await.unwrap().is_empty());
    let runner = Runner::new(&s.bmdb, does).options(options().once(true));
    let summary = runner.run(Shutdown::new()).await.unwrap();
    assert_eq!(summary.finished, 1, "{summary}");
}

#[tokio::test]
async fn a_loop_that_cannot_claim_ends_with_the_error() {
    let s = Scenario::new().await;
    let nothing = || Does::new(|_, _| Box::pin(async { Ok(Commit::unchanged()) }));
    let mut unknown = nothing();
    unknown.process = Process::new("Unknown").unwrap();
    let error = once(&s.bmdb, unknown).await.unwrap_err();
    assert!(matches!(error, LoopError::NoWorkflow { .. }), "{error}");
    let none = LoopOptions::default().parallelism(0);
    let error = Runner::new(&s.bmdb, nothing()).options(none);
    let error = error.run(Shutdown::new()).await.unwrap_err();
    assert!(error.to_string().starts_with("parallelism: "), "{error}");
    let zero = SessionOptions::default().interval(Duration::ZERO);
    let error = Runner::new(&s.bmdb, nothing()).options(LoopOptions::default().session(zero));
    let error = error.run(Shutdown::new()).await.unwrap_err();
    assert!(matches!(error, LoopError::Session(_)), "{error}");
}
