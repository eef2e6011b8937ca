//! When a machine whose agent is silent becomes due for recovery.

use crate::scenario::{MINUTE, RECOVERY, START, Scenario};
use bmdb_model::{Process, Provider, retrieval};
use bmdb_testkit::NewMachine;

impl Scenario {
    async fn recovery_list(&mut self, process: &Process) -> Vec<String> {
        let conn = &mut self.conn;
        let listed = retrieval::for_agent_recovery(conn, process, None, 100)
            .await
            .unwrap();
        let mut ids: Vec<String> = listed.into_iter().map(|m| m.provided.provider_id).collect();
        ids.sort();
        ids
    }
}

type Tags = for<'a> fn(NewMachine<'a>) -> NewMachine<'a>;

const AGENTS: [(&str, Tags); 7] = [
    ("never started", |m| m),
    ("started 5 min ago", |m| m.agent_started(5 * MINUTE)),
    ("started 29 min ago", |m| m.agent_started(29 * MINUTE)),
    ("started 40 min ago", |m| m.agent_started(40 * MINUTE)),
    ("started 40 min ago, beat 2 min ago", |m| {
        m.agent_started(40 * MINUTE).agent_heartbeat(2 * MINUTE)
    }),
    ("started 40 min ago, beat 11 min ago", |m| {
        m.agent_started(40 * MINUTE).agent_heartbeat(11 * MINUTE)
    }),
    ("started 20 min ago, beat 11 min ago", |m| {
        m.agent_started(20 * MINUTE).agent_heartbeat(11 * MINUTE)
    }),
];

const INSTALLATIONS: [(&str, Tags); 5] = [
    ("no request", |m| m),
    ("request", |m| m.os_installation_request(2, b"r")),
    ("older success", |m| {
        m.os_installation_request(2, b"r")
            .os_installation_report(1, "Success")
    }),
    ("error", |m| {
        m.os_installation_request(2, b"r")
            .os_installation_report(2, "Error")
    }),
    ("success", |m| {
        m.os_installation_request(2, b"r")
            .os_installation_report(2, "Success")
    }),
];

/// The agents that are due as long as the machine is not installed.
const SILENT: [&str; 3] = [
    "started 20 min ago, beat 11 min ago",
    "started 40 min ago",
    "started 40 min ago, beat 11 min ago",
];

#[tokio::test]
async fn silent_agents_are_due_unless_their_machine_is_installed() {
    let mut s = Scenario::new().await;
    for (agent, agent_tags) in AGENTS {
        for (installation, installation_tags) in INSTALLATIONS {
            let id = format!("{agent}; {installation}");
            let machine = s.db.machine().provided(&Provider::EQUINIX, &id);
            installation_tags(agent_tags(machine))
                .planned()
                .create()
                .await
                .unwrap();
        }
    }
    let not_installed = ["no request", "request", "older success", "error"];
    let mut expected = Vec::new();
    for agent in SILENT {
        expected.extend(not_installed.map(|installation| format!("{agent}; {installation}")));
    }
    expected.sort();
    assert_eq!(s.recovery_list(&RECOVERY).await, expected);

    // The planned items agree with the live answer.
    let planned = "SELECT provider_id FROM work_item JOIN machine_provided USING (machine_id)
                   WHERE process = 'ShepherdRecovery' AND eligible AND ready_at <= now()
                   ORDER BY provider_id COLLATE \"C\"";
    assert_eq!(s.rows(planned).await, expected);
}

#[tokio::test]
async fn silence_is_measured_from_the_last_heartbeat() {
    let mut s = Scenario::new().await;
    let machine =
        s.db.machine()
            .provided(&Provider::EQUINIX, "a")
            .agent_started(40 * MINUTE);
    machine.agent_heartbeat(2 * MINUTE).create().await.unwrap();
    s.advance(7 * 60).await;
    assert_eq!(s.recovery_list(&RECOVERY).await, [""; 0]);
    s.advance(60 + 1).await;
    assert_eq!(s.recovery_list(&RECOVERY).await, ["a"]);
}

#[tokio::test]
async fn a_machine_without_a_provider_is_never_due() {
    let mut s = Scenario::new().await;
    s.db.machine()
        .agent_started(40 * MINUTE)
        .create()
        .await
        .unwrap();
    assert_eq!(s.recovery_list(&RECOVERY).await, [""; 0]);
}

#[tokio::test]
async fn hold_lane_backoff_provider_and_limit_count_as_for_agent_start() {
    let mut s = Scenario::new().await;
    let silent = |id| {
        s.db.machine()
            .provided(&Provider::EQUINIX, id)
            .agent_started(40 * MINUTE)
    };
    let first = silent("a").create().await.unwrap();
    silent("b").hold("disk").create().await.unwrap();
    let lumen =
        s.db.machine()
            .provided(&Provider::LUMEN, "c")
            .agent_started(40 * MINUTE);
    lumen.create().await.unwrap();
    assert_eq!(s.recovery_list(&RECOVERY).await, ["a", "c"]);

    let attempt = s.claim_machine(first, &START).await;
    assert_eq!(s.recovery_list(&RECOVERY).await, ["c"]);
    s.fail(&attempt, 10, "no answer").await;
    assert_eq!(s.recovery_list(&START).await, ["c"]);
    assert_eq!(s.recovery_list(&RECOVERY).await, ["a", "c"]);

    let (conn, lumen) = (&mut s.conn, Some(&Provider::LUMEN));
    let listed = retrieval::for_agent_recovery(conn, &RECOVERY, lumen, 10)
        .await
        .unwrap();
    assert_eq!(
        listed
            .iter()
            .map(|m| &m.provided.provider_id)
            .collect::<Vec<_>>(),
        ["c"]
    );
    assert_eq!(
        retrieval::for_agent_recovery(conn, &RECOVERY, None, 1)
            .await
            .unwrap()
            .len(),
        1
    );
}
