//! Which machines need an agent started or recovered, depending on installation requests and reports.

use crate::scenario::Scenario;
use bmdb_model::os_installation::InstallationResult::{Error, Success};
use bmdb_model::os_installation::{self, InstallationRequest, InstallationResult};
use bmdb_model::{AgentStarted, MachineId, agent};

impl Scenario {
    /// The processes that the machine's items are eligible for.
    async fn wanted(&self) -> Vec<String> {
        self.rows("SELECT process FROM work_item WHERE eligible ORDER BY process")
            .await
    }

    async fn request(&mut self, machine: MachineId, generation: i64) {
        let raw = format!("request {generation}");
        self.write(machine, async |conn| {
            os_installation::set_request(conn, machine, generation, raw.as_bytes()).await
        })
        .await
        .unwrap();
    }

    async fn report(&mut self, machine: MachineId, generation: i64, result: InstallationResult) {
        self.write(machine, async |conn| {
            os_installation::set_report(conn, machine, generation, result, b"log").await
        })
        .await
        .unwrap();
    }

    async fn pending(&mut self, machine: MachineId) -> Option<InstallationRequest> {
        os_installation::pending_request(&mut self.conn, machine)
            .await
            .unwrap()
    }
}

fn request(generation: i64) -> Option<InstallationRequest> {
    let raw = format!("request {generation}");
    Some(InstallationRequest::new(generation, raw))
}

const START: [&str; 1] = ["ShepherdAgentStart"];
const RECOVERY: [&str; 1] = ["ShepherdRecovery"];
const NOTHING: [&str; 0] = [];

#[tokio::test]
async fn a_machine_without_a_provider_needs_nothing() {
    let s = Scenario::new().await;
    s.db.machine().planned().create().await.unwrap();
    assert_eq!(s.rows("SELECT * FROM work_item").await, NOTHING);
}

#[tokio::test]
async fn a_provided_machine_needs_its_agent_until_it_is_started() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    assert_eq!(s.wanted().await, START);
    let started = AgentStarted::now(b"key");
    s.write(machine, async |conn| {
        agent::set_started(conn, machine, &started).await
    })
    .await
    .unwrap();
    assert_eq!(s.wanted().await, RECOVERY);
    s.write(machine, async |conn| agent::unset(conn, machine).await)
        .await
        .unwrap();
    assert_eq!(s.wanted().await, START);
}

#[tokio::test]
async fn a_request_alone_changes_nothing() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    assert_eq!(s.pending(machine).await, None);
    s.request(machine, 1).await;
    assert_eq!(
        (s.wanted().await, s.pending(machine).await),
        (START.map(String::from).into(), request(1))
    );
}

#[tokio::test]
async fn a_report_of_an_older_generation_settles_nothing() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.request(machine, 2).await;
    for result in [Error, Success] {
        s.report(machine, 1, result).await;
        assert_eq!(s.wanted().await, START);
        assert_eq!(s.pending(machine).await, request(2));
    }
}

#[tokio::test]
async fn a_report_without_a_request_settles_nothing() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.report(machine, 1, Success).await;
    assert_eq!(s.wanted().await, START);
}

#[tokio::test]
async fn an_installed_machine_needs_nothing_more() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.request(machine, 1).await;
    s.report(machine, 1, Success).await;
    assert_eq!(s.wanted().await, NOTHING);
    assert_eq!(s.pending(machine).await, None);
}

#[tokio::test]
async fn a_failed_installation_is_no_longer_pending_but_the_machine_keeps_its_agent() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.request(machine, 1).await;
    s.report(machine, 1, Error).await;
    assert_eq!(s.wanted().await, START);
    assert_eq!(s.pending(machine).await, None);
}

#[tokio::test]
async fn a_new_generation_makes_an_installed_machine_eligible_again() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.request(machine, 1).await;
    s.report(machine, 1, Success).await;
    s.request(machine, 2).await;
    assert_eq!(s.wanted().await, START);
    assert_eq!(s.pending(machine).await, request(2));
    s.report(machine, 2, Success).await;
    assert_eq!(s.wanted().await, NOTHING);
}

#[tokio::test]
async fn the_rule_is_the_same_for_a_started_agent() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let started = AgentStarted::now(b"key");
    s.write(machine, async |conn| {
        agent::set_started(conn, machine, &started).await
    })
    .await
    .unwrap();
    s.request(machine, 1).await;
    assert_eq!(s.wanted().await, RECOVERY);
    s.report(machine, 1, Error).await;
    assert_eq!(s.wanted().await, RECOVERY);
    s.report(machine, 1, Success).await;
    assert_eq!(s.wanted().await, NOTHING);
    s.request(machine, 2).await;
    assert_eq!(s.wanted().await, RECOVERY);
}
