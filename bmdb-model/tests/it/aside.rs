//! Ends that set something aside: a machine for a while, one process on it, or a provider.

use crate::scenario::{ACCESS, START, Scenario};
use bmdb_model::internal::work::{self, Attempt, Cancel, Ended, ProviderPause};
use bmdb_model::{Provider, hold};
use std::time::Duration;

const ATTEMPTS: &str = "SELECT outcome, cause, repeats FROM work_attempt ORDER BY fence";
const HOLDS: &str = "SELECT process, eligible, hold_reason FROM work_item ORDER BY process";

const MINUTES: Duration = Duration::from_secs(300);

impl Scenario {
    async fn cancel_with(&mut self, attempt: &Attempt, cancel: Cancel<'_>) {
        let ended = work::cancel_all(&mut self.conn, attempt.session, &[(attempt, cancel)]).await;
        assert_eq!(ended.unwrap(), [Ended::Done(())]);
    }

    /// What an attempt asks for when its provider refuses requests.
    async fn pause_for(&mut self, attempt: &Attempt, time: Duration) -> Option<ProviderPause> {
        let paused = work::pause_provider(&mut self.conn, attempt, time, "reboots", "429").await;
        paused.unwrap()
    }
}

fn snooze(fold: bool) -> Cancel<'static> {
    Cancel {
        rest: Some(MINUTES),
        cause: Some("snoozed"),
        fold,
    }
}

#[tokio::test]
async fn a_snoozed_machine_rests_and_nothing_is_counted() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 4, "no answer").await;
    s.advance(5).await;
    let attempt = s.claim_one(&START).await;
    s.cancel_with(&attempt, snooze(true)).await;
    s.advance(295).await;
    assert!(s.claim(&START).await.is_empty());
    let item = "SELECT failures, last_interval_seconds, cause FROM work_item";
    assert_eq!(s.rows(item).await, ["1|4|no answer"], "the streak goes on");
    s.advance(6).await;
    let claimed = work::claim(&mut s.conn, &START, None, s.session, 1).await;
    assert_eq!(claimed.unwrap().unwrap()[0].previous_interval, Some(4));
}

#[tokio::test]
async fn a_process_without_a_workflow_can_be_snoozed() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_machine(machine, &ACCESS).await;
    s.cancel_with(&attempt, snooze(true)).await;
    let item = "SELECT backoff_until > clock_timestamp(), failures, cause FROM work_item
                WHERE process = 'ShepherdAccess'";
    assert_eq!(s.rows(item).await, ["t|0|snoozed"]);
}

#[tokio::test]
async fn canceled_attempts_with_the_same_cause_are_folded_unless_every_one_is_kept() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let plain = Cancel {
        fold: true,
        ..Cancel::default()
    };
    let mut attempts = Vec::new();
    for cancel in [
        plain,
        plain,
        snooze(true),
        snooze(true),
        snooze(true),
        snooze(false),
        plain,
    ] {
        let attempt = s.claim_machine(machine, &START).await;
        s.cancel_with(&attempt, cancel).await;
        attempts.push(attempt);
        s.advance(301).await;
    }
    let expected = [
        "Canceled||1",
        "Canceled|snoozed|2",
        "Canceled|snoozed|0",
        "Canceled||0",
    ];
    assert_eq!(s.rows(ATTEMPTS).await, expected);
    // The middle one of a folded row is found too.
    let state = work::attempt_state(&mut s.conn, &attempts[3])
        .await
        .unwrap();
    let canceled = bmdb_model::history::Outcome::Canceled;
    assert!(matches!(state, work::AttemptState::Ended(outcome, _) if outcome == canceled));
}

#[tokio::test]
async fn a_process_on_hold_stays_so_whatever_is_planned_and_others_start() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let held = s.write(machine, async |conn| {
        hold::set_process(conn, machine, &START, "no BMC").await
    });
    held.await.unwrap();
    assert_eq!(s.rows(HOLDS).await, ["ShepherdAgentStart|f|no BMC"]);
    s.write(machine, async |_| Ok(())).await.unwrap();
    assert_eq!(s.rows(HOLDS).await, ["ShepherdAgentStart|f|no BMC"]);
    assert!(s.claim(&START).await.is_empty());
    let session = s.session;
    let by_hand = work::claim_machine(&mut s.conn, machine, &START, session).await;
    assert_eq!(by_hand.unwrap(), None);
    let attempt = s.claim_machine(machine, &ACCESS).await;
    s.finish(&attempt).await;

    let gates = bmdb_model::gates::one(&mut s.conn, machine, &START)
        .await
        .unwrap();
    assert_eq!(gates.eligible.process_hold.unwrap().reason, "no BMC");
    assert!(!gates.is_stale);

    let released = s.write(machine, async |conn| {
        hold::unset_process(conn, machine, &START).await
    });
    assert!(released.await.unwrap());
    assert_eq!(s.rows(HOLDS).await, ["ShepherdAgentStart|t|"]);
    let again = s.write(machine, async |conn| {
        hold::unset_process(conn, machine, &START).await
    });
    assert!(!again.await.unwrap());
}

#[tokio::test]
async fn an_end_keeps_the_hold_of_a_process_without_a_workflow() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_machine(machine, &ACCESS).await;
    let held = s.write(machine, async |conn| {
        hold::set_process(conn, machine, &ACCESS, "no BMC").await
    });
    held.await.unwrap();
    s.finish(&attempt).await;
    let cleared = bmdb_model::internal::backoff::clear(&mut s.conn, machine, &ACCESS).await;
    assert!(cleared.unwrap());
    assert_eq!(
        s.rows(HOLDS).await,
        ["ShepherdAccess|f|no BMC", "ShepherdAgentStart|t|"]
    );
    let released = s.write(machine, async |conn| {
        hold::unset_process(conn, machine, &ACCESS).await
    });
    assert!(released.await.unwrap());
    assert_eq!(
        s.rows(HOLDS).await,
        ["ShepherdAgentStart|t|"],
        "it carries nothing any more"
    );
}

#[tokio::test]
async fn a_pause_is_extended_and_never_shortened() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_machine(machine, &ACCESS).await;
    let pause = s.pause_for(&attempt, MINUTES).await.unwrap();
    assert_eq!(pause.provider, Provider::EQUINIX);
    let shorter = s.pause_for(&attempt, Duration::from_secs(1)).await;
    assert_eq!(shorter.as_ref(), Some(&pause));
    let longer = s.pause_for(&attempt, 2 * MINUTES).await.unwrap();
    assert!(longer.until > pause.until);
    let rows = "SELECT process, provider, source, paused_by, reason FROM process_pause";
    assert_eq!(
        s.rows(rows).await,
        ["ShepherdAccess|Equinix|Attempt|reboots|429"]
    );
    s.advance(601).await;
    let fresh = "SELECT since > clock_timestamp() - interval '1 minute' FROM process_pause";
    assert_eq!(s.rows(fresh).await, ["f"]);
    s.pause_for(&attempt, Duration::from_secs(1)).await;
    assert_eq!(
        s.rows(fresh).await,
        ["t"],
        "one that has passed begins again"
    );
}

#[tokio::test]
async fn a_pause_of_an_operator_or_a_breaker_stays_as_it_is() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    // Claimed before the pause.
    let attempt = s.claim_machine(machine, &ACCESS).await;
    s.db.run_sql(
        "INSERT INTO process_control VALUES ('ShepherdAccess');
         INSERT INTO process_pause (process, provider, source, paused_by, reason)
         VALUES ('ShepherdAccess', 'Equinix', 'Operator', 'ann', 'maintenance')",
    )
    .await
    .unwrap();
    let pause = s.pause_for(&attempt, MINUTES).await;
    let expected = ProviderPause {
        provider: Provider::EQUINIX,
        until: None,
    };
    assert_eq!(pause, Some(expected));
    let rows = "SELECT source, paused_by, until FROM process_pause";
    assert_eq!(s.rows(rows).await, ["Operator|ann|infinity"]);
    for (left, expected) in [("1 hour", "1 hour"), ("1 minute", "5 min")] {
        let sql = format!(
            "UPDATE process_pause SET source = 'Attempt', until = clock_timestamp() + interval '{left}'"
        );
        s.db.run_sql(&sql).await.unwrap();
        let pause = s.pause_for(&attempt, MINUTES).await;
        let left = format!(
            "SELECT abs(extract(epoch FROM until - clock_timestamp() - interval '{expected}')) < 5
             FROM process_pause"
        );
        assert_eq!(s.rows(&left).await, ["t"], "{expected}");
        assert!(pause.is_some());
    }
    // Nothing is known of the provider of another machine.
    let other = s.db.machine().create().await.unwrap();
    let other = Attempt {
        machine: other,
        ..attempt
    };
    assert_eq!(s.pause_for(&other, MINUTES).await, None);
    // An attempt that says nothing is recorded as well.
    let silent = work::pause_provider(&mut s.conn, &other, MINUTES, "reboots", "").await;
    assert_eq!(silent.unwrap(), None);
}
