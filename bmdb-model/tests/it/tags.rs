//! Every tag can be set, set again, read and unset.

use crate::scenario::Scenario;
use bmdb_model::os_installation::{self, InstallationRequest, InstallationResult};
use bmdb_model::{AgentStarted, MachineId, agent, hardware, hold};
use chrono::{DateTime, Utc};

const REQUEST: &str =
    "SELECT generation, os_installation_request_raw FROM machine_os_installation_request";

fn at(time: &str) -> DateTime<Utc> {
    time.parse().unwrap()
}

impl Scenario {
    async fn set_started(&mut self, machine: MachineId, started: AgentStarted) {
        self.write(machine, async |conn| {
            agent::set_started(conn, machine, &started).await
        })
        .await
        .unwrap();
    }

    async fn beat(&mut self, machine: MachineId, at: Option<DateTime<Utc>>) -> bool {
        agent::advance_heartbeat(&mut self.conn, machine, at)
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn agent_started_replaces_time_and_key() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.set_started(
        machine,
        AgentStarted::at(at("2026-01-01T12:00:00Z"), b"old"),
    )
    .await;
    s.set_started(
        machine,
        AgentStarted::at(at("2026-01-02T12:00:00Z"), b"new"),
    )
    .await;
    let tag = "SELECT machine_id, agent_started_at AT TIME ZONE 'UTC', agent_public_key
               FROM machine_agent_started";
    assert_eq!(
        s.rows(tag).await,
        [format!(r"{machine}|2026-01-02 12:00:00|\x6e6577")]
    );

    s.set_started(machine, AgentStarted::now(b"newest")).await;
    let now = "SELECT clock_timestamp() - agent_started_at < '1 minute' FROM machine_agent_started";
    assert_eq!(s.rows(now).await, ["t"]);
}

#[tokio::test]
async fn an_agent_is_authenticated_by_its_machine_and_its_key() {
    let mut s = Scenario::new().await;
    let (machine, other) = (s.provided("a").await, s.provided("b").await);
    s.set_started(machine, AgentStarted::now(b"key")).await;
    s.set_started(other, AgentStarted::now(b"other key")).await;
    for (asked, key, expected) in [
        (machine, &b"key"[..], true),
        (machine, b"other key", false),
        (machine, b"", false),
        (other, b"key", false),
        (MachineId::random(), b"key", false),
    ] {
        let known = agent::authenticate(&mut s.conn, asked, key).await.unwrap();
        assert_eq!(known, expected, "{asked} {key:?}");
    }
}

#[tokio::test]
async fn a_heartbeat_moves_forward_only_unless_it_is_set() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let beats = "SELECT agent_heartbeat_at AT TIME ZONE 'UTC' FROM machine_agent_heartbeat";
    assert!(!s.beat(machine, None).await, "there is none to move");
    s.write(machine, async |conn| {
        agent::set_heartbeat(conn, machine, Some(at("2026-01-01T12:00:00Z"))).await
    })
    .await
    .unwrap();
    assert!(!s.beat(machine, Some(at("2026-01-01T11:00:00Z"))).await);
    assert_eq!(s.rows(beats).await, ["2026-01-01 12:00:00"]);
    assert!(s.beat(machine, Some(at("2026-01-01T13:00:00Z"))).await);
    assert_eq!(s.rows(beats).await, ["2026-01-01 13:00:00"]);
    assert!(s.beat(machine, None).await);
    let now =
        "SELECT clock_timestamp() - agent_heartbeat_at < '1 minute' FROM machine_agent_heartbeat";
    assert_eq!(s.rows(now).await, ["t"]);

    s.write(machine, async |conn| {
        agent::set_heartbeat(conn, machine, Some(at("2026-01-01T10:00:00Z"))).await
    })
    .await
    .unwrap();
    assert_eq!(s.rows(beats).await, ["2026-01-01 10:00:00"]);
}

#[tokio::test]
async fn a_new_agent_deletes_the_heartbeats_of_the_previous_one() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    for (beat, left) in [("2026-01-01T11:59:59Z", "0"), ("2026-01-01T12:00:01Z", "1")] {
        let beat = Some(at(beat));
        s.write(machine, async |conn| {
            agent::set_heartbeat(conn, machine, beat).await
        })
        .await
        .unwrap();
        s.set_started(
            machine,
            AgentStarted::at(at("2026-01-01T12:00:00Z"), b"key"),
        )
        .await;
        assert_eq!(
            s.rows("SELECT count(*) FROM machine_agent_heartbeat").await,
            [left]
        );
    }
}

#[tokio::test]
async fn unsetting_the_agent_deletes_start_and_heartbeat() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    s.set_started(machine, AgentStarted::now(b"key")).await;
    s.write(machine, async |conn| {
        agent::set_heartbeat(conn, machine, None).await
    })
    .await
    .unwrap();
    s.write(machine, async |conn| agent::unset(conn, machine).await)
        .await
        .unwrap();
    let left = "SELECT machine_id FROM machine_agent_started
                UNION ALL SELECT machine_id FROM machine_agent_heartbeat";
    assert_eq!(s.rows(left).await, [""; 0]);
}

#[tokio::test]
async fn hardware_reports_are_read_in_pages_of_machine_order() {
    let mut s = Scenario::new().await;
    let mut reports = Vec::new();
    for raw in [b"1".to_vec(), b"\x00\xff".to_vec(), Vec::new()] {
        let machine =
            s.db.machine()
                .hardware_report(b"older")
                .create()
                .await
                .unwrap();
        s.write(machine, async |conn| {
            hardware::set(conn, machine, &raw).await
        })
        .await
        .unwrap();
        reports.push((machine, raw));
    }
    reports.sort();
    let first = hardware::page(&mut s.conn, None, 2).await.unwrap();
    assert_eq!(first, reports[..2]);
    let second = hardware::page(&mut s.conn, Some(first[1].0), 2)
        .await
        .unwrap();
    assert_eq!(second, reports[2..]);
    assert_eq!(
        hardware::page(&mut s.conn, Some(second[0].0), 2)
            .await
            .unwrap(),
        []
    );
}

#[tokio::test]
async fn an_installation_request_is_replaced_and_read_as_it_was_set() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    for (generation, raw) in [(7, &b"\x00"[..]), (8, b"debian")] {
        s.write(machine, async |conn| {
            os_installation::set_request(conn, machine, generation, raw).await
        })
        .await
        .unwrap();
        let pending = os_installation::pending_request(&mut s.conn, machine)
            .await
            .unwrap();
        assert_eq!(pending, Some(InstallationRequest::new(generation, raw)));
    }
    assert_eq!(s.rows(REQUEST).await, [r"8|\x64656269616e"]);
}

#[tokio::test]
async fn an_installation_report_is_replaced() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    for (generation, result, raw) in [
        (7, InstallationResult::Error, &b"disk full"[..]),
        (8, InstallationResult::Success, b"ok"),
    ] {
        s.write(machine, async |conn| {
            os_installation::set_report(conn, machine, generation, result, raw).await
        })
        .await
        .unwrap();
    }
    let tag = "SELECT generation, os_installation_result, os_installation_report_raw
               FROM machine_os_installation_report";
    assert_eq!(s.rows(tag).await, [r"8|Success|\x6f6b"]);
}

#[tokio::test]
async fn a_hold_keeps_its_time_when_its_reason_changes() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    assert_eq!(hold::of(&mut s.conn, machine).await.unwrap(), None);
    s.write(machine, async |conn| hold::set(conn, machine, "disk").await)
        .await
        .unwrap();
    let first = hold::of(&mut s.conn, machine).await.unwrap().unwrap();
    s.write(machine, async |conn| {
        hold::set(conn, machine, "disk and fan").await
    })
    .await
    .unwrap();
    let second = hold::of(&mut s.conn, machine).await.unwrap().unwrap();
    assert_eq!(
        (first.reason.as_str(), second.reason.as_str()),
        ("disk", "disk and fan")
    );
    assert_eq!(first.since, second.since);
    for was_held in [true, false] {
        let released = s
            .write(machine, async |conn| hold::unset(conn, machine).await)
            .await;
        assert_eq!(released.unwrap(), was_held);
    }
}
