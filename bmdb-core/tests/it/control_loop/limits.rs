//! How much a loop does at once, how often it asks, how long it lets a machine take, and when it ends.

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

/// A loop that stops at a gate with each machine.
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
async fn no_more_machines_are_worked_on_at_once_than_asked_for() {
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
async fn one_claim_takes_no_more_than_a_batch() {
    let s = Scenario::new().await;
    for id in 0..5 {
        s.provided(&id.to_string()).await;
    }
    let gate = Arc::new(Semaphore::new(0));
    let does = gated(&gate, &Arc::default(), &Arc::default());
    let slow: Rate = "1/m,burst=4".parse().unwrap();
    // Each poll takes two turns, one for each provider.
    let running = Running::new(&s.bmdb, does, options().batch(2).rate(Some(slow)));
    let four = "count(*) = 4 FROM work_item WHERE session_id IS NOT NULL";
    until(&s.db, four).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    until(&s.db, four).await;
    gate.add_permits(4);
    running.leave().await;
}

/// What a loop sends until it stands at the gate with all machines of a fleet.
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
    running.leave().await;
    sent
}

#[tokio::test]
async fn what_many_machines_are_is_read_in_one_statement() {
    let (one, twenty) = (
        round_trips_until_all_are_inside(1).await,
        round_trips_until_all_are_inside(20).await,
    );
    // One more for the provider whose machines nobody has missed with one.
    assert!(twenty <= one + 1, "{one} for one, {twenty} for twenty");
}

/// What an idle loop sends that may ask this often at once, and hardly again.
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
    running.leave().await;
    sent
}

#[tokio::test]
async fn the_database_is_asked_no_more_often_than_allowed() {
    let s = Scenario::new().await;
    let few = round_trips_of_an_idle_loop(&s.db, 4).await;
    let more = round_trips_of_an_idle_loop(&s.db, 44).await;
    // What is prepared in the first polls is prepared whatever the burst.
    let further = more - few;
    assert!((30..=40).contains(&further), "{few}, then {more}");
}

#[tokio::test]
async fn a_machine_that_takes_too_long_has_failed() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let told = Arc::new(Semaphore::new(0));
    let tell = told.clone();
    let does = Does::new(move |_, machine| {
        let tell = tell.clone();
        Box::pin(async move {
            machine.stop().cancelled().await;
            tell.add_permits(1);
            // What it says now does not count, and it is not waited for it either.
            std::future::pending::<()>().await;
            Ok(Commit::unchanged())
        })
    });
    let limit = Duration::from_millis(20);
    let runner = Runner::new(&s.bmdb, does).options(options().once(true).timeout(Some(limit)));
    let summary = runner.run(Shutdown::new()).await.unwrap();
    assert_eq!((summary.claimed, summary.failed), (1, 1));
    assert_eq!(s.attempts().await, ["Failed|timed out after 20ms|1"]);
    assert_eq!(told.available_permits(), 1);
}

#[tokio::test]
async fn in_one_go_each_machine_is_worked_on_once() {
    let s = Scenario::new().await;
    for id in ["a", "b", "c"] {
        s.provided(id).await;
    }
    // Finished, and due again at once.
    let does = Does::new(|_, _| Box::pin(async { Ok(Commit::unchanged()) }));
    let runner = Runner::new(&s.bmdb, does).options(options().once(true).parallelism(1));
    let summary = runner.run(Shutdown::new()).await.unwrap();
    assert_eq!(summary.finished, 3);
    let held = s.rows("SELECT count(*) FROM work").await;
    assert_eq!(held, ["0"]);
    let once_each = "SELECT DISTINCT count(*) FROM work_attempt WHERE outcome = 'Finished'
                     GROUP BY machine_id";
    assert_eq!(s.rows(once_each).await, ["1"]);
}

/// It ended after the first look, for which one provider's next deadline hid what was due of the other.
#[tokio::test]
async fn in_one_go_what_is_due_is_found_behind_any_number_that_only_seem_due() {
    let s = Scenario::new().await;
    s.armed_of(&Provider::EQUINIX, 1, 0).await;
    s.armed_of(&Provider::LUMEN, 5050, 1).await;
    let mut does = Does::new(|_, _| Box::pin(async { Ok(Commit::unchanged()) }));
    does.process = Process::SHEPHERD_RECOVERY;
    // Re-armed, it has a deadline ahead.
    let claim = Claim::of(&does.process).provider(&Provider::EQUINIX);
    assert!(s.session.claim(&claim).await.unwrap().is_empty());
    let runner = Runner::new(&s.bmdb, does).options(options().once(true));
    let summary = runner.run(Shutdown::new()).await.unwrap();
    assert_eq!(summary.finished, 1, "{summary}");
}

#[tokio::test]
async fn a_loop_that_cannot_claim_says_why_and_ends() {
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
