//! Listener: notifications of the database wake pollers.

use super::*;
use bmdb_core::TxOptions;
use tokio::sync::Notify;

#[tokio::test]
async fn a_poller_is_woken_within_fifty_milliseconds_of_a_tag_change_of_another_component() {
    let s = Scenario::new().await;
    let (_bmdb, session) = quiet(s.db.url(), |config| config).await;
    let mut took = Vec::new();
    for number in 0..9 {
        let waiting = wait(session.poller_with(&equinix(), endless_interval()));
        listening(&s.db, 1).await;
        let machine = s.provided(&number.to_string()).await;
        let committed = Instant::now();
        let (machines, at) = woken(waiting).await;
        assert_eq!(machines, [machine]);
        took.push(at.saturating_duration_since(committed));
        s.hold(machine).await;
    }
    // A busy computer may be late now and then, but not each time.
    took.sort();
    assert!(took[2] <= Duration::from_millis(50), "{took:?}");
}

#[tokio::test]
async fn a_poller_is_woken_by_a_tag_change_of_its_own_session() {
    let s = Scenario::new().await;
    let waiting = wait(s.session.poller_with(&equinix(), endless_interval()));
    listening(&s.db, 1).await;
    let machine = s.provided("a").await;
    assert_eq!(woken(waiting).await.0, [machine]);
}

#[tokio::test]
async fn releasing_a_hold_and_a_replan_wake_a_poller() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.hold(machine).await;
    let waiting = wait(s.session.poller_with(&equinix(), endless_interval()));
    listening(&s.db, 1).await;
    let released = s
        .session
        .transact(async |tx| tx.release_hold(machine).await);
    assert!(released.await.unwrap());
    assert_eq!(woken(waiting).await.0, [machine]);

    s.db.run_sql("UPDATE work_item SET eligible = false")
        .await
        .unwrap();
    let waiting = wait(s.session.poller_with(&equinix(), endless_interval()));
    listening(&s.db, 1).await;
    s.bmdb.replan().await.unwrap();
    assert_eq!(woken(waiting).await.0, [machine]);
}

#[tokio::test]
async fn a_poller_of_a_time_driven_process_is_woken_too() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let recovery = Claim::of(&Process::SHEPHERD_RECOVERY);
    let waiting = wait(s.session.poller_with(&recovery, endless_interval()));
    listening(&s.db, 1).await;
    let long_ago = "2020-01-01T00:00:00Z".parse().unwrap();
    let started = AgentStarted::at(long_ago, b"key");
    let start = s
        .session
        .transact(async |tx| tx.set_agent_started(machine, &started).await);
    start.await.unwrap();
    assert_eq!(woken(waiting).await.0, [machine]);
}

#[tokio::test]
async fn all_pollers_of_a_component_share_one_connection_until_the_last_is_dropped() {
    let s = Scenario::new().await;
    let lumen = Claim::of(&START).provider(&Provider::LUMEN);
    let mut pollers = [
        s.session.poller_with(&equinix(), endless_interval()),
        s.session.poller_with(&lumen, endless_interval()),
    ];
    for poller in &mut pollers {
        let waited = tokio::time::timeout(Duration::from_millis(100), poller.next(1)).await;
        assert!(waited.is_err(), "{waited:?}");
    }
    listening(&s.db, 1).await;
    let [first, second] = pollers;
    drop(first);
    listening(&s.db, 1).await;
    drop(second);
    listening(&s.db, 0).await;
}

#[tokio::test]
async fn a_listener_that_lost_its_connection_reconnects_and_wakes_all_pollers() {
    let s = Scenario::new().await;
    let (_bmdb, session) = quiet(s.db.url(), |config| config).await;
    let machine = s.provided("a").await;
    let is_due = async |eligible| {
        let past_the_planner = format!("UPDATE work_item SET eligible = {eligible}");
        s.db.run_sql(&past_the_planner).await.unwrap();
    };
    is_due(false).await;
    let waiting = wait(session.poller_with(&equinix(), endless_interval()));
    listening(&s.db, 1).await;
    // As if the machine had become due while the listener was not connected.
    is_due(true).await;
    let end = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
               WHERE datname = current_database() AND query = 'LISTEN bmdb_due'";
    assert_eq!(s.rows(end).await, ["t"]);
    assert_eq!(woken(waiting).await.0, [machine]);
    // The listener receives notifications again.
    s.hold(machine).await;
    let waiting = wait(session.poller_with(&equinix(), endless_interval()));
    listening(&s.db, 1).await;
    let another = s.provided("b").await;
    assert_eq!(woken(waiting).await.0, [another]);
}

#[tokio::test]
async fn a_listener_behind_a_cut_link_reconnects() {
    let s = Scenario::new().await;
    let proxy = Proxy::tcp(s.db.url()).await.unwrap();
    let (_bmdb, session) = quiet(proxy.url(), |config| config).await;
    let waiting = wait(session.poller_with(&equinix(), endless_interval()));
    listening(&s.db, 1).await;
    proxy.cut();
    let machine = s.provided("a").await;
    assert_eq!(woken(waiting).await.0, [machine]);
}

#[tokio::test]
async fn without_notifications_polling_alone_is_enough() {
    let s = Scenario::new().await;
    let (silent, _session) = quiet(s.db.url(), |config| config.notify(false)).await;
    let session = silent
        .start_session(SessionOptions::default())
        .await
        .unwrap();
    let millis = Duration::from_millis;
    for listen in [false, true] {
        let options = PollOptions::default()
            .poll_interval(millis(10), millis(50))
            .listen(listen);
        let waiting = wait(s.session.poller_with(&equinix(), options));
        listening(&s.db, u32::from(listen)).await;
        let made = session.transact(async |tx| {
            let machine = tx.create_machine().await?;
            tx.set_provided(machine, &Provided::new(Provider::EQUINIX, "a"))
                .await?;
            Ok(machine)
        });
        let machine = made.await.unwrap();
        assert_eq!(woken(waiting).await.0, [machine]);
        let deleted = session.transact(async |tx| tx.delete_machine(machine).await);
        deleted.await.unwrap();
    }
}

#[tokio::test]
async fn a_component_that_does_not_notify_wakes_no_poller() {
    let s = Scenario::new().await;
    let (_silent, session) = quiet(s.db.url(), |config| config.notify(false)).await;
    let waiting = wait(s.session.poller_with(&equinix(), endless_interval()));
    listening(&s.db, 1).await;
    let made = session.transact(async |tx| {
        let machine = tx.create_machine().await?;
        tx.set_provided(machine, &Provided::new(Provider::EQUINIX, "a"))
            .await
    });
    made.await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!waiting.is_finished());
    waiting.abort();
}

// The writer's transaction began before the time that the session's queue cursor has reached, so its
// machine is below the cursor.
#[tokio::test]
async fn a_machine_that_a_long_transaction_made_due_is_found_below_the_cursor_at_once() {
    let s = Scenario::new().await;
    let mut poller = s.session.poller_with(&equinix(), endless_interval());
    let idle = tokio::time::timeout(Duration::from_millis(50), poller.next(1)).await;
    assert!(idle.is_err(), "{idle:?}");
    listening(&s.db, 1).await;
    let (mut kept, claimed) = (Vec::new(), Notify::new());
    let session = s.another_session().await;
    let long = session.transact_with(TxOptions::read_committed(), async |tx| {
        let machine = tx.create_machine().await?;
        tx.set_provided(machine, &Provided::new(Provider::EQUINIX, "long"))
            .await?;
        s.provided("short").await;
        claimed.notified().await;
        Ok(machine)
    });
    let (machine, ()) = tokio::join!(long, async {
        until(&s.db, "count(*) = 1 FROM work_item").await;
        for _ in 0..40 {
            kept.extend(s.session.claim(&equinix()).await.unwrap());
        }
        claimed.notify_one();
    });
    let began = Instant::now();
    let (machines, at) = woken(wait(poller)).await;
    assert_eq!((machines, kept.len()), (vec![machine.unwrap()], 1));
    assert!(at - began < Duration::from_secs(1), "{:?}", at - began);
}
