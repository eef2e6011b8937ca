//! Limits, breakers and pauses as people read them.

use crate::scenario::{RECOVERY, START, Scenario};
use bmdb_model::process_control::{self, Breaker, Limit, PauseSource, Per, ProcessGate, SlotKind};
use bmdb_model::{Process, Provider};

#[tokio::test]
async fn the_shipped_limits_of_recovery_are_read_with_their_use() {
    let db = bmdb_testkit::TestDb::new().await.unwrap();
    let mut conn = db.connect().await.unwrap();
    let machine = db.machine().provided(&Provider::EQUINIX, "a").planned();
    machine.create().await.unwrap();
    let control = process_control::of(&mut conn, &RECOVERY).await.unwrap();
    assert!(control.is_controlled() && !control.is_tripped());
    let [limit] = &control.limits[..] else {
        panic!("{control:?}")
    };
    assert_eq!(
        limit.limit,
        Limit::new(Per::Provider).max_running(5).max_starts(10, 600)
    );
    let [equinix] = &limit.partitions[..] else {
        panic!("{limit:?}")
    };
    assert_eq!(equinix.name, "Equinix");
    assert_eq!(equinix.running.unwrap().to_string(), "0/5");
    assert_eq!(equinix.starts.unwrap().to_string(), "0/10");
    let [breaker] = &control.breakers[..] else {
        panic!("{control:?}")
    };
    let shipped = Breaker::new(Per::Provider).max_due(5).max_failures(20, 600);
    assert_eq!(
        breaker.breaker,
        shipped.max_due_percent("5%".parse().unwrap())
    );
    assert_eq!(
        (breaker.partitions[0].due, breaker.partitions[0].failures),
        (None, 0)
    );

    let all = process_control::all(&mut conn).await.unwrap();
    let names: Vec<_> = all.iter().map(|control| control.process.as_str()).collect();
    assert_eq!(
        names,
        ["ShepherdAccess", "ShepherdAgentStart", "ShepherdRecovery"]
    );
    assert_eq!(all[2], control);
    assert!(!all[0].is_controlled());
    let unknown = Process::from_static("AcmeWipe");
    let control = process_control::of(&mut conn, &unknown).await.unwrap();
    assert!(!control.is_defined && !control.is_controlled());
}

#[tokio::test]
async fn closed_gates_are_those_of_the_machines_provider() {
    let mut s = Scenario::new().await;
    s.db.run_sql(
        "INSERT INTO process_control VALUES ('ShepherdAgentStart');
         INSERT INTO process_limit VALUES ('ShepherdAgentStart', 'process', 2, NULL, NULL),
                                          ('ShepherdAgentStart', 'provider', NULL, 1, 60)",
    )
    .await
    .unwrap();
    let (first, second) = (s.provided("a").await, s.provided("b").await);
    s.claim_machine(first, &START).await;
    let equinix = Some(&Provider::EQUINIX);
    let gates = process_control::closed_gates(&mut s.conn, &START, equinix)
        .await
        .unwrap();
    let [
        gate @ ProcessGate::Limited {
            per,
            kind,
            taken: 1,
            maximum: 1,
            window_seconds: Some(60),
            ..
        },
    ] = &gates[..]
    else {
        panic!("{gates:?}")
    };
    assert_eq!((*per, *kind), (Per::Provider, SlotKind::Start));
    assert!(gate.opens_at().is_some());
    let elsewhere = Provider::from_static("fra1");
    let gates = process_control::closed_gates(&mut s.conn, &START, Some(&elsewhere)).await;
    assert_eq!(gates.unwrap(), []);

    s.db.run_sql(
        "INSERT INTO process_pause (process, provider, paused_by, reason)
         VALUES ('ShepherdAgentStart', '', 'ann', 'all'), ('ShepherdAgentStart', 'Equinix', 'bob', 'one')",
    )
    .await
    .unwrap();
    let gates = process_control::closed_gates(&mut s.conn, &START, Some(&elsewhere))
        .await
        .unwrap();
    let [ProcessGate::Paused(pause)] = &gates[..] else {
        panic!("{gates:?}")
    };
    assert_eq!(
        (pause.provider.clone(), pause.until, &*pause.paused_by),
        (None, None, "ann")
    );
    assert_eq!(pause.source, PauseSource::Operator);
    let gates = process_control::closed_gates(&mut s.conn, &START, equinix)
        .await
        .unwrap();
    assert_eq!(gates.len(), 3);
    let paused = process_control::pauses(&mut s.conn).await.unwrap();
    let providers: Vec<_> = paused.iter().map(|pause| pause.provider.clone()).collect();
    assert_eq!(providers, [None, Some(Provider::EQUINIX)]);
    assert!(s.claim(&START).await.is_empty());
    let _ = second;
}
