//! Notifications: for items that planning makes due, once for each transaction and process, and for
//! nothing else.

use crate::scenario::{MINUTE, RECOVERY, START, Scenario};
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::notify::{self, Notify};
use bmdb_model::internal::{connection, plan};
use bmdb_model::{
    AgentStarted, Error, MachineId, Provided, Provider, agent, hold, machine, provided,
};
use diesel_async::AsyncPgConnection;
use futures_util::StreamExt;
use std::pin::pin;

/// The notifications that a listener receives, up to a mark.
struct Listener(AsyncPgConnection);

impl Scenario {
    async fn listener(&self) -> Listener {
        let mut conn = self.db.connect().await.unwrap();
        notify::listen(&mut conn).await.unwrap();
        Listener(conn)
    }

    /// Writes tags of machines in one transaction, planning and notifying after each.
    async fn write_notifying(
        &mut self,
        machines: &[MachineId],
        write: impl AsyncFn(&mut AsyncPgConnection, MachineId) -> Result<(), Error>,
    ) {
        let conn = &mut self.conn;
        connection::begin(conn, Isolation::ReadCommitted, Access::ReadWrite)
            .await
            .unwrap();
        machine::touch(conn, machines).await.unwrap();
        for &machine in machines {
            write(conn, machine).await.unwrap();
            plan::replan_notifying(conn, &[machine], Notify::On)
                .await
                .unwrap();
        }
        connection::commit(conn).await.unwrap();
    }

    async fn hold_notifying(&mut self, machine: MachineId) {
        self.write_notifying(&[machine], async |conn, machine| {
            hold::set(conn, machine, "disk").await
        })
        .await;
    }

    async fn release_notifying(&mut self, machine: MachineId) {
        self.write_notifying(&[machine], async |conn, machine| {
            hold::unset(conn, machine).await.map(drop)
        })
        .await;
    }
}

impl Listener {
    /// The processes that were notified of since the last time.
    async fn heard(&mut self, s: &Scenario) -> Vec<String> {
        s.db.run_sql("NOTIFY bmdb_due, '.'").await.unwrap();
        let mut heard = Vec::new();
        let mut notifications = pin!(self.0.notifications_stream());
        while let Some(notification) = notifications.next().await {
            let process = notification.unwrap().payload;
            if process == "." {
                break;
            }
            heard.push(process);
        }
        heard
    }
}

#[tokio::test]
async fn a_transaction_that_makes_many_machines_due_notifies_once_for_each_process() {
    let mut s = Scenario::new().await;
    let mut listener = s.listener().await;
    let mut machines = Vec::new();
    for _ in 0..20 {
        machines.push(s.db.machine().create().await.unwrap());
    }
    // Half of them have been silent for long enough.
    let started_at = "2020-01-01T00:00:00Z".parse().unwrap();
    let silent = machines[..10].to_vec();
    s.write_notifying(&machines, async |conn, machine| {
        let tag = Provided::new(Provider::EQUINIX, machine.to_string());
        provided::set(conn, machine, &tag).await?;
        if silent.contains(&machine) {
            let started = AgentStarted::at(started_at, b"key");
            agent::set_started(conn, machine, &started).await?;
        }
        Ok(())
    })
    .await;
    let mut heard = listener.heard(&s).await;
    heard.sort();
    assert_eq!(heard, [START.as_str(), RECOVERY.as_str()]);
    assert_eq!(s.claim(&START).await.len(), 10);
}

#[tokio::test]
async fn machines_that_do_not_become_due_are_not_notified() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let mut listener = s.listener().await;
    let nothing = async |_: &mut AsyncPgConnection, _| Ok(());
    s.write_notifying(&[machine], nothing).await;
    assert_eq!(listener.heard(&s).await, [""; 0], "an unchanged plan");
    s.hold_notifying(machine).await;
    assert_eq!(listener.heard(&s).await, [""; 0], "a hold");
    s.release_notifying(machine).await;
    assert_eq!(listener.heard(&s).await, [START.as_str()], "its release");

    let attempt = s.claim_one(&START).await;
    s.hold_notifying(machine).await;
    s.release_notifying(machine).await;
    assert_eq!(listener.heard(&s).await, [""; 0], "the work is claimed");
    s.fail(&attempt, 60, "no answer").await;
    s.hold_notifying(machine).await;
    s.release_notifying(machine).await;
    assert_eq!(listener.heard(&s).await, [""; 0], "it is backing off");
    // The agent's start ends the one process, and the other one's deadline is ahead.
    s.write_notifying(&[machine], async |conn, machine| {
        agent::set_started(conn, machine, &AgentStarted::now(b"key")).await
    })
    .await;
    assert_eq!(listener.heard(&s).await, [""; 0], "recovery is due later");
}

#[tokio::test]
async fn only_a_deadline_that_moves_into_the_past_is_notified() {
    let mut s = Scenario::new().await;
    let machine = s.db.machine().provided(&Provider::EQUINIX, "a");
    let silent = machine
        .agent_started(60 * MINUTE)
        .agent_heartbeat(11 * MINUTE);
    let machine = silent.planned().create().await.unwrap();
    let mut listener = s.listener().await;
    s.write_notifying(&[machine], async |conn, machine| {
        agent::set_heartbeat(conn, machine, None).await
    })
    .await;
    assert_eq!(listener.heard(&s).await, [""; 0]);
    let long_ago = Some("2020-01-01T00:00:00Z".parse().unwrap());
    s.write_notifying(&[machine], async |conn, machine| {
        agent::set_heartbeat(conn, machine, long_ago).await
    })
    .await;
    assert_eq!(listener.heard(&s).await, [RECOVERY.as_str()]);
}

#[tokio::test]
async fn a_due_machine_that_changes_its_provider_is_notified() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let mut listener = s.listener().await;
    s.write_notifying(&[machine], async |conn, machine| {
        provided::set(conn, machine, &Provided::new(Provider::LUMEN, "a")).await
    })
    .await;
    assert_eq!(listener.heard(&s).await, [START.as_str()]);
}

#[tokio::test]
async fn a_rolled_back_transaction_sends_no_notification() {
    let mut s = Scenario::new().await;
    let machine = s.db.machine().provided(&Provider::EQUINIX, "a");
    let machine = machine.create().await.unwrap();
    let mut listener = s.listener().await;
    let conn = &mut s.conn;
    connection::begin(conn, Isolation::Serializable, Access::ReadWrite)
        .await
        .unwrap();
    plan::replan_notifying(conn, &[machine], Notify::On)
        .await
        .unwrap();
    connection::roll_back(conn).await.unwrap();
    assert_eq!(listener.heard(&s).await, [""; 0]);
}

#[tokio::test]
async fn without_notifications_the_statement_does_not_contain_pg_notify() {
    let mut s = Scenario::new().await;
    let machine = s.db.machine().provided(&Provider::EQUINIX, "a");
    let machine = machine.create().await.unwrap();
    let mut listener = s.listener().await;
    plan::replan_notifying(&mut s.conn, &[machine], Notify::Off)
        .await
        .unwrap();
    assert_eq!(s.claim(&START).await.len(), 1);
    assert_eq!(listener.heard(&s).await, [""; 0]);
    let prepared = s.prepared().await;
    assert!(prepared.iter().any(|text| text.contains("wanted AS (")));
    assert!(!prepared.iter().any(|text| text.contains("notify")));
}

#[tokio::test]
async fn the_engine_is_known_once_a_connection_is_set_up() {
    let mut s = Scenario::new().await;
    let info = connection::set_up(&mut s.conn).await.unwrap();
    assert_eq!(info.engine, connection::Engine::PostgreSql);
}
