//! Why nothing happens to a machine: each gate and what closes it.

use crate::scenario::{ACCESS, RECOVERY, START, Scenario};
use bmdb_model::gates::{self, Effect, Gates, View, When};
use bmdb_model::history::Outcome;
use bmdb_model::os_installation::{self, InstallationResult};
use bmdb_model::{AgentStarted, Error, MachineId, Process, ProcessDef, agent, hold, provided};

impl Scenario {
    async fn why(&mut self, machine: MachineId, process: &Process) -> Gates {
        gates::one(&mut self.conn, machine, process).await.unwrap()
    }

    async fn with_agent(&mut self, machine: MachineId) {
        self.write(machine, async |conn| {
            agent::set_started(conn, machine, &AgentStarted::now(b"key")).await
        })
        .await
        .unwrap();
    }
}

/// The tags that have something to do with it.
fn guilty(gates: &Gates) -> Vec<(&str, Effect)> {
    let tags = gates.eligible.tags.iter();
    tags.filter(|tag| tag.effect != Effect::NoneAlone)
        .map(|tag| (tag.table.as_str(), tag.effect))
        .collect()
}

#[tokio::test]
async fn a_machine_that_is_due_has_all_gates_open() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let why = s.why(machine, &START).await;
    assert!(why.are_open() && why.has_item && !why.is_stale, "{why:#?}");
    assert_eq!(why.eligible.view, View::Lists(When::Now));
    assert!(matches!(why.ready.due, Some(When::At(time)) if time <= why.at));
    assert_eq!((why.claim, why.last), (None, None));
    let nowhere = gates::one(&mut s.conn, MachineId::random(), &START).await;
    assert!(matches!(nowhere, Err(Error::NoSuchMachine(_))));
}

#[tokio::test]
async fn a_tag_that_keeps_the_machine_out_and_one_that_is_missing_are_named() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let why = s.why(machine, &RECOVERY).await;
    assert!(!why.are_open() && !why.has_item && !why.is_stale);
    assert_eq!(why.eligible.view, View::DoesNotList);
    let looked_at: Vec<_> = why
        .eligible
        .tags
        .iter()
        .map(|t| (t.table.as_str(), t.is_set))
        .collect();
    assert_eq!(
        looked_at,
        [
            ("machine_agent_heartbeat", false),
            ("machine_agent_started", false),
            ("machine_os_installation_report", false),
            ("machine_os_installation_request", false),
            ("machine_provided", true),
        ]
    );
    assert_eq!(guilty(&why), [("machine_agent_started", Effect::IsMissing)]);

    s.with_agent(machine).await;
    let why = s.why(machine, &START).await;
    assert!(!why.eligible.is_open && why.has_item);
    assert_eq!(guilty(&why), [("machine_agent_started", Effect::KeepsOut)]);
    let started = why
        .eligible
        .tags
        .iter()
        .find(|tag| tag.table == "machine_agent_started");
    let (column, _) = started.unwrap().time.as_ref().unwrap();
    assert_eq!(column, "agent_started_at");

    // Through a view that the workflow reads; either of its two tags would do.
    s.write(machine, async |conn| {
        os_installation::set_request(conn, machine, 1, b"").await?;
        os_installation::set_report(conn, machine, 1, InstallationResult::Success, b"").await
    })
    .await
    .unwrap();
    let why = s.why(machine, &RECOVERY).await;
    assert_eq!(
        guilty(&why),
        [
            ("machine_os_installation_report", Effect::KeepsOut),
            ("machine_os_installation_request", Effect::KeepsOut),
        ]
    );
    // Now two tags keep it out, and neither does so alone.
    let why = s.why(machine, &START).await;
    assert_eq!(guilty(&why), []);
}

#[tokio::test]
async fn a_hold_closes_the_first_gate_of_every_process() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.write(machine, async |conn| {
        hold::set(conn, machine, "fan broken").await
    })
    .await
    .unwrap();
    let all = gates::of(&mut s.conn, machine).await.unwrap();
    assert_eq!(
        all.iter().map(|g| &g.process).collect::<Vec<_>>(),
        [&ACCESS, &START, &RECOVERY]
    );
    for why in all {
        assert!(!why.are_open() && !why.is_stale, "{why:#?}");
        assert_eq!(why.eligible.hold.unwrap().reason, "fan broken");
    }
}

#[tokio::test]
async fn a_backoff_closes_the_second_gate_until_it_ends() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 600, "no answer").await;
    let why = s.why(machine, &START).await;
    assert!(why.eligible.is_open && !why.ready.is_open && why.claim.is_none());
    let backoff = why.ready.backoff.unwrap();
    assert_eq!(
        (backoff.failures, backoff.losses, backoff.cause.as_deref()),
        (1, 0, Some("no answer"))
    );
    assert!(backoff.is_in_force);
    assert_eq!(why.ready.opens, When::At(backoff.until));
    let last = why.last.unwrap();
    assert_eq!(
        (last.outcome, last.fence, last.interval_seconds),
        (Outcome::Failed, attempt.fence, Some(600))
    );
    s.advance(601).await;
    let why = s.why(machine, &START).await;
    assert!(why.are_open() && !why.ready.backoff.unwrap().is_in_force);
}

#[tokio::test]
async fn the_view_decides_when_the_second_gate_opens_for_a_process_that_replans_on_claim() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.with_agent(machine).await;
    s.write(machine, async |conn| {
        agent::set_heartbeat(conn, machine, None).await
    })
    .await
    .unwrap();
    s.advance(660).await;
    // The view cannot be planned by, so the item stays due.
    agent::advance_heartbeat(&mut s.conn, machine, None)
        .await
        .unwrap();
    let why = s.why(machine, &RECOVERY).await;
    assert!(
        why.eligible.is_open && !why.ready.is_open && !why.is_stale,
        "{why:#?}"
    );
    let When::At(opens) = why.ready.opens else {
        panic!("{why:#?}")
    };
    let minutes = (opens - why.at).num_seconds();
    assert!((590..=600).contains(&minutes), "{minutes}");
}

#[tokio::test]
async fn a_claim_closes_the_third_gate_of_every_process_of_its_lane() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    for process in [&START, &RECOVERY, &ACCESS] {
        let holder = s.why(machine, process).await.claim.unwrap();
        assert_eq!(
            (holder.process, holder.session, holder.fence),
            (START, s.session, attempt.fence)
        );
        assert_eq!(
            (holder.component.as_str(), holder.is_live),
            ("fixture", true)
        );
    }
    let other = s.why(machine, &Process::from_static("Other")).await;
    assert!(other.claim.is_none() && !other.is_defined && other.workflow.is_none());
    assert_eq!(
        (other.lane.as_str(), other.eligible.view),
        ("Other", View::None)
    );
    s.db.expire(s.session).await.unwrap();
    assert!(!s.why(machine, &START).await.claim.unwrap().is_live);
}

#[tokio::test]
async fn an_item_that_contradicts_the_tags_is_stale() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    // Without the planner.
    for (sql, is_stale) in [
        ("DELETE FROM machine_provided", true),
        (
            "UPDATE work_item SET eligible = false, plan_at = NULL",
            false,
        ),
        (
            "INSERT INTO machine_provided (machine_id, provider, provider_id) SELECT machine_id, 'Lumen', 'a' FROM machines",
            true,
        ),
        (
            "UPDATE work_item SET eligible = true, plan_at = now()",
            true,
        ),
        ("UPDATE work_item SET provider = 'Lumen'", false),
        (
            "UPDATE work_item SET plan_at = now() + interval '1 day'",
            true,
        ),
        // The lane is not the statement's to say.
        (
            "UPDATE work_item SET plan_at = now(), lane = 'other'",
            false,
        ),
    ] {
        s.db.run_sql(sql).await.unwrap();
        let why = s.why(machine, &START).await;
        assert_eq!(why.is_stale, is_stale, "{sql}: {why:#?}");
    }
}

#[tokio::test]
async fn a_failing_view_or_one_without_a_ready_time_is_reported_and_aborts_nothing() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let (broken, never) = (
        Process::from_static("Broken"),
        Process::from_static("Never"),
    );
    let views = "CREATE TABLE acme_tag (machine_id uuid, n int);
        CREATE VIEW acme_broken AS SELECT machine_id, provider, now() + 1 / (length(provider) - 7) * interval '1 s' AS ready_at
            FROM machine_provided;
        CREATE VIEW acme_never AS SELECT p.machine_id, provider, 'infinity'::timestamptz AS ready_at
            FROM machine_provided p JOIN acme_tag USING (machine_id)";
    s.db.run_sql(views).await.unwrap();
    s.define(&ProcessDef::new(broken.clone()).workflow("acme_broken"))
        .await
        .unwrap();
    s.define(&ProcessDef::new(never.clone()).workflow("acme_never"))
        .await
        .unwrap();
    let gone = Process::from_static("Gone");
    let define = "INSERT INTO process_def (process, lane, workflow) VALUES ('Gone', 'Gone', 'nothing there')";
    s.db.run_sql(define).await.unwrap();

    let why = s.why(machine, &broken).await;
    let View::Unusable(reason) = &why.eligible.view else {
        panic!("{why:#?}")
    };
    assert!(reason.contains("division by zero"), "{reason}");
    let why = s.why(machine, &gone).await;
    assert!(
        matches!(&why.eligible.view, View::Unusable(reason) if reason.contains("there is no view"))
    );
    let why = s.why(machine, &never).await;
    assert_eq!(guilty(&why), [("acme_tag", Effect::IsMissing)]);

    s.db.run_sql(
        "INSERT INTO acme_tag SELECT machine_id, n FROM machines, generate_series(1, 2) n",
    )
    .await
    .unwrap();
    let why = s.why(machine, &never).await;
    assert!(matches!(&why.eligible.view, View::Unusable(reason) if reason.contains("2 times")));
    s.db.run_sql("DELETE FROM acme_tag WHERE n = 2")
        .await
        .unwrap();
    let why = s.why(machine, &never).await;
    assert_eq!(why.eligible.view, View::Lists(When::Never));
    assert!(why.is_stale, "the machine is not planned yet");
    // All of them, in a transaction that cannot write.
    let read_only = bmdb_model::connection::Access::ReadOnly;
    let isolation = bmdb_model::connection::Isolation::RepeatableRead;
    s.db.run_sql("DELETE FROM process_def WHERE process = 'Broken'")
        .await
        .unwrap();
    bmdb_model::internal::connection::begin(&mut s.conn, isolation, read_only)
        .await
        .unwrap();
    assert_eq!(gates::of(&mut s.conn, machine).await.unwrap().len(), 5);
    s.why(machine, &never).await;
    assert!(provided::of(&mut s.conn, machine).await.unwrap().is_some());
    bmdb_model::internal::connection::roll_back(&mut s.conn)
        .await
        .unwrap();
}

#[tokio::test]
async fn the_gates_of_a_machine_of_a_large_fleet_cost_a_few_buffers() {
    let fleet = crate::fleet::Fleet::of(30_000);
    let mut s = fleet.scenario(crate::fleet::Situation::AllEligible).await;
    s.db.run_sql("VACUUM ANALYZE").await.unwrap();
    let machine: MachineId = s
        .rows("SELECT machine_id FROM machines ORDER BY 1 OFFSET 15000 LIMIT 1")
        .await[0]
        .parse()
        .unwrap();
    s.why(machine, &RECOVERY).await;
    gates::of(&mut s.conn, machine).await.unwrap();
    let cost = s
        .cost_of(
            "The gates of a machine's processes",
            &format!("'{machine}', NULL"),
        )
        .await;
    assert!(cost <= 60, "{cost}");
    let cost = s
        .cost_of(
            "FROM \"workflow_agent_recovery\" v",
            &format!("'{machine}'"),
        )
        .await;
    assert!(cost <= 40, "{cost}");
}

// `why` said that the next claim takes the machine, and that it is on hold.
#[tokio::test]
async fn a_hold_that_was_written_by_sql_closes_the_first_gate_before_the_item_is_planned() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    assert!(s.why(machine, &START).await.eligible.is_open);
    let hold = format!("INSERT INTO machine_hold (machine_id, reason) VALUES ('{machine}', 'x')");
    s.db.run_sql(&hold).await.unwrap();
    let why = s.why(machine, &START).await;
    assert!(!why.eligible.is_open && why.is_stale, "{why:#?}");
    assert!(s.claim(&START).await.is_empty());
}
