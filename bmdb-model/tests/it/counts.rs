//! The counts behind the metrics.

use crate::scenario::{ACCESS, MINUTE, RECOVERY, START, Scenario};
use bmdb_model::counts::{self, FleetCounts, PendingCounts, ProcessCounts};
use bmdb_model::{Process, Provider, process, work};

async fn agent_starts(s: &mut Scenario) -> ProcessCounts {
    let mut counted = counts::processes(&mut s.conn).await.unwrap();
    counted.retain(|counts| counts.process == START);
    counted.remove(0)
}

fn expected(
    process: Process,
    eligible: i64,
    due: i64,
    claimed: i64,
    backing_off: i64,
) -> ProcessCounts {
    let mut counts = ProcessCounts::new(process);
    counts.eligible = eligible;
    counts.due = Some(due);
    (counts.limited, counts.paused) = (Some(0), Some(0));
    counts.claimed = claimed;
    counts.backing_off = backing_off;
    counts
}

/// The machines that wait for a process, and for how many seconds the longest has waited.
async fn pending(s: &mut Scenario, process: &Process) -> (i64, Option<i64>) {
    let definition = process::of(&mut s.conn, process).await.unwrap();
    let pending = counts::pending(&mut s.conn, &definition).await.unwrap();
    let PendingCounts {
        machines,
        oldest_due_seconds,
        ..
    } = pending.expect("it has a workflow");
    (machines, oldest_due_seconds)
}

#[tokio::test]
async fn an_empty_fleet_has_no_processes() {
    let mut s = Scenario::new().await;
    assert_eq!(counts::processes(&mut s.conn).await.unwrap(), []);
}

#[tokio::test]
async fn a_backoff_counts_while_it_is_in_force_and_no_longer() {
    let mut s = Scenario::new().await;
    for id in ["a", "b", "c"] {
        s.provided(id).await;
    }
    assert_eq!(agent_starts(&mut s).await, expected(START, 3, 3, 0, 0));
    let attempts = s.claim(&START).await;
    assert_eq!(agent_starts(&mut s).await, expected(START, 3, 0, 3, 0));
    s.fail(&attempts[0], 10, "no answer").await;
    s.cancel(&attempts[1]).await;
    let failing = |mut counts: ProcessCounts| {
        counts.failing = 1;
        counts
    };
    assert_eq!(
        agent_starts(&mut s).await,
        failing(expected(START, 3, 1, 1, 1))
    );
    s.advance(11).await;
    assert_eq!(
        agent_starts(&mut s).await,
        failing(expected(START, 3, 2, 1, 0))
    );
}

#[tokio::test]
async fn a_claimed_item_with_a_recorded_backoff_counts_as_claimed() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 10, "no answer").await;
    s.claim_machine_despite_its_backoff(machine).await;
    assert_eq!(agent_starts(&mut s).await, expected(START, 1, 0, 1, 0));
}

impl Scenario {
    async fn claim_machine_despite_its_backoff(&self, machine: bmdb_model::MachineId) {
        let claim = format!(
            "UPDATE work_item SET session_id = '{}', started_at = now() WHERE machine_id = '{machine}'",
            self.session
        );
        self.db.run_sql(&claim).await.unwrap();
    }
}

// Regression: later heartbeats are not planned, so every healthy machine looked due for recovery after
// ten minutes.
#[tokio::test]
async fn due_machines_of_a_process_that_replans_on_claim_are_not_counted_from_its_items() {
    let mut s = Scenario::new().await;
    let machine = s.db.machine().provided(&Provider::EQUINIX, "a");
    let started = machine.agent_started(40 * MINUTE).planned();
    started.create().await.unwrap();
    let counted = counts::processes(&mut s.conn).await.unwrap();
    let mut unknown = expected(RECOVERY, 1, 0, 0, 0);
    (unknown.due, unknown.limited, unknown.paused) = (None, None, None);
    assert_eq!(counted, [unknown]);
}

#[tokio::test]
async fn the_pending_count_equals_what_claims_return() {
    let mut s = Scenario::new().await;
    for id in ["free", "held", "failed", "lane", "canceled"] {
        s.provided(id).await;
    }
    let on_hold = s.db.machine().provided(&Provider::EQUINIX, "on hold");
    on_hold.hold("disk").planned().create().await.unwrap();
    let installed = s.db.machine().provided(&Provider::EQUINIX, "installed");
    let installed = installed.os_installation_request(1, b"");
    let installed = installed.os_installation_report(1, "Success").planned();
    installed.create().await.unwrap();
    s.db.machine().create().await.unwrap();
    let attempts = s.claim(&START).await;
    assert_eq!(attempts.len(), 5);
    s.fail(&attempts[1], 60, "no answer").await;
    for free in [&attempts[2], &attempts[3], &attempts[4]] {
        s.cancel(free).await;
    }
    s.claim_machine(attempts[2].machine, &ACCESS).await;
    let (counted, _) = pending(&mut s, &START).await;
    assert_eq!(counted, 2);
    assert_eq!(s.claim(&START).await.len(), 2);
    assert_eq!(pending(&mut s, &START).await, (0, None));
}

#[tokio::test]
async fn silent_agents_are_pending_though_their_heartbeats_were_not_planned() {
    let mut s = Scenario::new().await;
    for (id, silent_for) in [("silent", 25), ("alive", 5)] {
        let machine = s.db.machine().provided(&Provider::EQUINIX, id);
        let machine = machine.agent_started(60 * MINUTE);
        let machine = machine.agent_heartbeat(silent_for * MINUTE).planned();
        machine.create().await.unwrap();
    }
    let never = s.db.machine().provided(&Provider::EQUINIX, "never");
    let never = never.agent_started(40 * MINUTE).planned();
    never.create().await.unwrap();
    let (counted, oldest) = pending(&mut s, &RECOVERY).await;
    assert_eq!(counted, 2);
    // Due ten minutes after its last heartbeat.
    assert!((900..910).contains(&oldest.unwrap()), "{oldest:?}");
    assert_eq!(s.claim(&RECOVERY).await.len(), 2);
    let fleet = counts::fleet(&mut s.conn).await.unwrap();
    assert_eq!(fleet.heartbeating, 1);
    // An installed machine is never recovered; its agent may still be alive.
    s.db.run_sql(
        "INSERT INTO machine_os_installation_request (machine_id, generation, os_installation_request_raw)
         SELECT machine_id, 1, '' FROM machines;
         INSERT INTO machine_os_installation_report (machine_id, generation, os_installation_result,
                                                     os_installation_report_raw)
         SELECT machine_id, 1, 'Success', '' FROM machines",
    )
    .await
    .unwrap();
    assert_eq!(pending(&mut s, &RECOVERY).await, (0, None));
    let fleet = counts::fleet(&mut s.conn).await.unwrap();
    assert_eq!((fleet.heartbeating, fleet.installed), (1, 3));
}

#[tokio::test]
async fn the_oldest_due_machine_waits_since_its_plan_or_the_end_of_its_backoff() {
    let mut s = Scenario::new().await;
    s.provided("a").await;
    s.advance(100).await;
    let (_, oldest) = pending(&mut s, &START).await;
    assert!((100..110).contains(&oldest.unwrap()), "{oldest:?}");
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 50, "no answer").await;
    assert_eq!(pending(&mut s, &START).await, (0, None));
    s.advance(70).await;
    let (_, oldest) = pending(&mut s, &START).await;
    assert!((20..30).contains(&oldest.unwrap()), "{oldest:?}");
}

#[tokio::test]
async fn a_process_without_a_workflow_has_nothing_pending_and_one_without_a_view_is_an_error() {
    let mut s = Scenario::new().await;
    let access = process::of(&mut s.conn, &ACCESS).await.unwrap();
    assert_eq!(counts::pending(&mut s.conn, &access).await.unwrap(), None);
    let gone = access.workflow("gone\"; DROP TABLE machines; --");
    let error = counts::pending(&mut s.conn, &gone).await.unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
}

#[tokio::test]
async fn stuck_and_poisoned_items_are_counted() {
    let mut s = Scenario::new().await;
    for id in ["stuck", "lost", "failing", "well"] {
        s.provided(id).await;
    }
    let attempts = s.claim(&START).await;
    s.advance(3700).await;
    for (attempt, set) in [
        (&attempts[1], "losses = 3"),
        (&attempts[2], "failures = 10"),
    ] {
        s.cancel(attempt).await;
        let machine = attempt.machine;
        let set = format!("UPDATE work_item SET {set} WHERE machine_id = '{machine}'");
        s.db.run_sql(&set).await.unwrap();
    }
    s.cancel(&attempts[3]).await;
    let counted = agent_starts(&mut s).await;
    assert_eq!(
        (counted.claimed, counted.stuck, counted.poisoned),
        (1, 1, 2)
    );
}

#[tokio::test]
async fn a_machine_is_failing_from_a_failure_to_the_next_claim_unless_nobody_needs_to_look() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let failing = async |s: &mut Scenario| agent_starts(s).await.failing;
    let attempt = s.claim_one(&START).await;
    assert_eq!(failing(&mut s).await, 0, "nothing has failed");
    s.fail(&attempt, 60, "no answer").await;
    assert_eq!(failing(&mut s).await, 1, "backing off");
    s.advance(61).await;
    assert_eq!(failing(&mut s).await, 1, "due again");
    let hold =
        format!("INSERT INTO machine_hold (machine_id, reason) VALUES ('{machine}', 'disk')");
    s.db.run_sql(&hold).await.unwrap();
    assert_eq!(failing(&mut s).await, 0, "on hold");
    s.db.run_sql("DELETE FROM machine_hold").await.unwrap();
    let attempt = s.claim_one(&START).await;
    assert_eq!(failing(&mut s).await, 0, "tried again");
    s.finish(&attempt).await;
    assert_eq!(failing(&mut s).await, 0, "succeeded");
}

#[tokio::test]
async fn a_hold_silences_poisoned_machines() {
    let mut s = Scenario::new().await;
    let machines = [
        s.provided("a").await,
        s.provided("b").await,
        s.provided("c").await,
    ];
    let poisoned = format!(
        "UPDATE work_item SET failures = 10;
         INSERT INTO machine_hold (machine_id, reason) VALUES ('{}', 'disk');
         UPDATE work_item SET hold_reason = 'disk', hold_since = now() WHERE machine_id = '{}'",
        machines[0], machines[1]
    );
    s.db.run_sql(&poisoned).await.unwrap();
    assert_eq!(agent_starts(&mut s).await.poisoned, 1);
    let listed = work::poisoned(&mut s.conn, None, 10).await.unwrap().rows;
    let listed: Vec<_> = listed.iter().map(|work| work.machine).collect();
    assert_eq!(listed, [machines[2]]);
}

#[tokio::test]
async fn what_backs_off_after_a_success_is_resting_and_not_failing() {
    let mut s = Scenario::new().await;
    for id in ["unproductive", "flapping", "over", "twice", "well"] {
        s.provided(id).await;
    }
    let rest = |id: &str, set: &str| {
        format!(
            "UPDATE work_item i SET {set} FROM machine_provided p
             WHERE p.machine_id = i.machine_id AND p.provider_id = '{id}';"
        )
    };
    let later = "backoff_until = now() + interval '1 hour'";
    let sql = [
        rest("unproductive", &format!("unproductive = 1, {later}")),
        rest("flapping", &format!("flapping = 2, {later}")),
        rest("twice", &format!("flapping = 1, {later}")),
        rest(
            "over",
            "unproductive = 5, backoff_until = now() - interval '1 hour'",
        ),
    ];
    s.db.run_sql(&sql.concat()).await.unwrap();
    let counted = agent_starts(&mut s).await;
    assert_eq!((counted.resting, counted.failing), (2, 0));
    let mut listed: Vec<_> = work::resting(&mut s.conn, 10).await.unwrap();
    listed.sort_by_key(|work| work.flapping);
    let listed: Vec<_> = listed
        .iter()
        .map(|work| (work.unproductive, work.flapping))
        .collect();
    assert_eq!(listed, [(1, 0), (0, 2)]);
}

#[tokio::test]
async fn what_a_limit_or_a_pause_keeps_from_starting_is_counted_apart() {
    let mut s = Scenario::new().await;
    for id in ["a", "b", "c"] {
        s.provided(id).await;
    }
    let lumen = s.db.machine().provided(&Provider::LUMEN, "d").planned();
    lumen.create().await.unwrap();
    s.db.run_sql(
        "INSERT INTO process_control VALUES ('ShepherdAgentStart');
         INSERT INTO process_limit (process, per, max_running) VALUES ('ShepherdAgentStart', 'provider', 2)",
    )
    .await
    .unwrap();
    let start = process::of(&mut s.conn, &START).await.unwrap();
    let counted = async |s: &mut Scenario| {
        let counts = agent_starts(s).await;
        let pending = counts::pending(&mut s.conn, &start).await.unwrap().unwrap();
        let (limited, paused) = (counts.limited.unwrap(), counts.paused.unwrap());
        assert_eq!((pending.limited, pending.paused), (limited, paused));
        let due = counts.due.unwrap();
        assert_eq!(pending.machines, due + limited + paused);
        (due, limited, paused)
    };
    assert_eq!(counted(&mut s).await, (4, 0, 0));
    assert_eq!(
        s.claim(&START).await.len(),
        3,
        "two of Equinix, one of Lumen"
    );
    assert_eq!(counted(&mut s).await, (0, 1, 0));
    s.db.run_sql(
        "INSERT INTO process_pause (process, provider, paused_by, reason)
         VALUES ('ShepherdAgentStart', 'Equinix', 'ada', 'fire')",
    )
    .await
    .unwrap();
    assert_eq!(counted(&mut s).await, (0, 0, 1), "a pause outranks a limit");
    let (_, oldest) = pending(&mut s, &START).await;
    assert_eq!(oldest, None, "what is paused is meant to wait");
    s.db.run_sql("UPDATE process_pause SET until = now()")
        .await
        .unwrap();
    assert_eq!(counted(&mut s).await, (0, 1, 0));
}

#[tokio::test]
async fn installations_are_pending_until_any_report_of_their_generation() {
    let mut s = Scenario::new().await;
    for (id, reported) in [
        ("a", None),
        ("b", Some((1, "Success"))),
        ("c", Some((2, "Error"))),
        ("d", Some((2, "Success"))),
    ] {
        let machine = s.db.machine().provided(&Provider::EQUINIX, id);
        let mut machine = machine.os_installation_request(2, b"");
        if let Some((generation, result)) = reported {
            machine = machine.os_installation_report(generation, result);
        }
        machine.create().await.unwrap();
    }
    let fleet = counts::fleet(&mut s.conn).await.unwrap();
    assert_eq!((fleet.installation_pending, fleet.installed), (2, 1));
}

#[tokio::test]
async fn the_fleet_is_counted_by_tags_and_sessions_by_their_deadlines() {
    let mut s = Scenario::new().await;
    s.db.machine().create().await.unwrap();
    s.provided("a").await;
    let lumen =
        s.db.machine()
            .provided(&Provider::LUMEN, "b")
            .agent_started(MINUTE);
    lumen.hold("disk").create().await.unwrap();
    let expired = s.another_session().await;
    s.db.expire(expired).await.unwrap();
    let fleet = counts::fleet(&mut s.conn).await.unwrap();
    let mut expected = FleetCounts::default();
    expected.machines = 3;
    expected.provided = 2;
    expected.agent_started = 1;
    expected.on_hold = 1;
    expected.live_sessions = 1;
    expected.dead_sessions = 1;
    assert_eq!(fleet, expected);
}
