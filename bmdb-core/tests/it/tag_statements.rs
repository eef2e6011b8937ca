//! Statements that write the tags of many machines: how many there are, and the order of their locks.

use crate::scenario::{Scenario, counted};
use crate::tags::{Kind, create, each, machines};
use bmdb_core::{Session, TxOptions};
use bmdb_model::os_installation::{InstallationReport, InstallationRequest, InstallationResult};
use bmdb_model::tag::TagName;
use bmdb_model::{AgentStarted, MachineId, Provided, Provider, TagWrites};
use bmdb_testkit::{Proxy, TestDb};
use chrono::{DateTime, Utc};
use std::time::Duration;

/// The requests of a transaction that writes machines, once its statements are prepared.
async fn requests(proxy: &Proxy, session: &Session, kind: Kind, machines: &[MachineId]) -> u64 {
    let write = || {
        session.transact_with(TxOptions::read_committed(), async |tx| {
            kind.of_all(tx, machines).await
        })
    };
    write().await.unwrap();
    let before = proxy.requests();
    write().await.unwrap();
    proxy.requests() - before
}

#[tokio::test]
async fn many_machines_take_as_many_statements_as_one() {
    let db = TestDb::new().await.unwrap();
    let (proxy, _bmdb, session) = counted(&db).await;
    let fleet = machines(1, 500);
    create(&session, &fleet).await;
    for kind in [
        Kind::Provided,
        Kind::Started,
        Kind::Hardware,
        Kind::Request,
        Kind::Report,
        Kind::Unset(TagName::OsInstallationReport),
        Kind::UnsetAgent,
        Kind::Hold,
        Kind::HoldProcess,
    ] {
        let one = requests(&proxy, &session, kind, &fleet[..1]).await;
        let all = requests(&proxy, &session, kind, &fleet).await;
        assert_eq!(one, all, "{kind:?}");
        // Begin, fence check; touch with definitions, the tag; plan, commit.
        assert!(all <= 7, "{kind:?}: {all}");
    }
}

#[tokio::test]
async fn ten_thousand_machines_are_written_by_one_statement_for_each_kind_of_tag() {
    let db = TestDb::new().await.unwrap();
    let (proxy, _bmdb, session) = counted(&db).await;
    let fleet = machines(1, 10_000);
    let (report, request) = (
        InstallationReport::new(1, InstallationResult::Error, "disk"),
        InstallationRequest::new(1, "debian"),
    );
    let writes = each(&fleet, |n| {
        TagWrites::new()
            .provided(Provided::new(Provider::EQUINIX, n.to_string()))
            .agent_started(AgentStarted::now(n.to_string()))
            .agent_heartbeat(None)
            .hardware_report(vec![7; 1000])
            .os_installation_request(request.clone())
            .os_installation_report(report.clone())
    });
    let write = async |fleet: &[MachineId], writes: &[(MachineId, TagWrites)]| {
        let before = proxy.requests();
        let written = session.transact(async |tx| {
            tx.create_machines_as(fleet).await?;
            tx.write_tags(writes).await
        });
        written.await.unwrap();
        proxy.requests() - before
    };
    let one = machines(2, 2);
    for machine in &one {
        let writes = TagWrites::new().agent_started(AgentStarted::now("key"));
        write(&[*machine], &[(*machine, writes)]).await;
    }
    let all = write(&fleet, &writes).await;
    // Begin, fence check; machines; six tags; definitions; plan, commit. Each statement is prepared first.
    assert!(all <= 2 * 13, "{all}");
    let count = "SELECT count(*) FROM machine_provided JOIN machine_agent_started USING (machine_id)
        JOIN machine_agent_heartbeat USING (machine_id) JOIN machine_hardware_report USING (machine_id)
        JOIN machine_os_installation_request USING (machine_id)
        JOIN machine_os_installation_report USING (machine_id)";
    assert_eq!(db.rows(count).await.unwrap(), ["10000"]);
}

#[cfg(feature = "fleet")]
#[tokio::test]
async fn importing_a_thousand_machines_takes_as_many_statements_as_importing_one() {
    use bmdb_core::fleet::Fleet;

    let db = TestDb::new().await.unwrap();
    let (proxy, _bmdb, session) = counted(&db).await;
    let mut prefix = 0;
    let mut import = async |machines: usize| {
        prefix += 1;
        let row = |n: usize| {
            format!(r#"{{"provider": "Equinix", "provider_id": "{prefix}-{n}", "hold": "new"}}"#)
        };
        let rows: Vec<String> = (0..machines).map(row).collect();
        let fleet = Fleet::parse(&format!(r#"{{"machines": [{}]}}"#, rows.join(","))).unwrap();
        let before = proxy.requests();
        let imported = session.transact(async |tx| tx.import_fleet(&fleet).await);
        assert_eq!(imported.await.unwrap().created.len(), machines);
        proxy.requests() - before
    };
    import(1).await;
    let (one, thousand) = (import(1).await, import(1000).await);
    assert_eq!(one, thousand);
    // Begin, fence check; known machines, machines, tags, holds; definitions, plan, commit.
    assert!(thousand <= 9, "{thousand}");
}

/// Starts and removals of agents lock heartbeats in the order in which batches of heartbeats do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_many_agents_and_batches_of_heartbeats_never_deadlock() {
    let s = Scenario::new().await;
    let fleet = machines(1, 200);
    create(&s.session, &fleet).await;
    let beat = each(&fleet, |_| None);
    let started = each(&fleet, |_| AgentStarted::now("key"));
    let mut reversed = beat.clone();
    reversed.reverse();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(3);
    let heartbeats = async |beat: &[(MachineId, Option<DateTime<Utc>>)]| {
        while tokio::time::Instant::now() < deadline {
            s.session.heartbeat_agents(beat).await.unwrap();
        }
    };
    let read_committed = TxOptions::read_committed();
    let writers = async {
        while tokio::time::Instant::now() < deadline {
            let write = s.session.transact_with(read_committed, async |tx| {
                tx.set_agents_started(&started).await
            });
            write.await.unwrap();
            let write = s.session.transact_with(read_committed, async |tx| {
                tx.unset_tags(&fleet, TagName::AgentHeartbeat).await
            });
            write.await.unwrap();
            let write = s
                .session
                .transact_with(read_committed, async |tx| tx.unset_agents(&fleet).await);
            write.await.unwrap();
        }
    };
    tokio::join!(heartbeats(&beat), heartbeats(&reversed), writers);
    s.session.close().await.unwrap();
    drop(s.bmdb);
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(s.db.rows(deadlocks).await.unwrap(), ["0"]);
}
