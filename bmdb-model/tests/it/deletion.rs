//! Deleting a machine: tags and unclaimed items are deleted, claimed work prevents it, history stays.

use crate::scenario::{MINUTE, START, Scenario};
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::connection;
use bmdb_model::{Error, MachineId, Provider, machine};

impl Scenario {
    /// A machine with every tag there is.
    async fn with_all_tags(&self, id: &str) -> MachineId {
        let machine = self
            .db
            .machine()
            .provided(&Provider::EQUINIX, id)
            .agent_started(MINUTE);
        let machine = machine.agent_heartbeat(MINUTE).hardware_report(b"h");
        let machine = machine
            .os_installation_request(1, b"r")
            .os_installation_report(1, "Error");
        let machine = machine.planned().create().await.unwrap();
        // Planned before it is put on hold, so that it has a work item.
        let hold =
            format!("INSERT INTO machine_hold (machine_id, reason) VALUES ('{machine}', 'disk')");
        self.db.run_sql(&hold).await.unwrap();
        machine
    }

    async fn delete(&mut self, machine: MachineId) -> Result<(), Error> {
        let conn = &mut self.conn;
        connection::begin(conn, Isolation::ReadCommitted, Access::ReadWrite).await?;
        let deleted = machine::delete(conn, machine).await;
        match deleted {
            Ok(()) => connection::commit(conn).await?,
            Err(_) => connection::roll_back(conn).await?,
        }
        deleted
    }
}

/// Which tables still know the machine.
async fn traces(s: &Scenario, machine: MachineId) -> Vec<String> {
    let tables = "SELECT table_name FROM information_schema.columns JOIN information_schema.tables
                  USING (table_schema, table_name)
                  WHERE column_name = 'machine_id' AND table_type = 'BASE TABLE'
                  ORDER BY table_name COLLATE \"C\"";
    let mut traces = Vec::new();
    for table in s.rows(tables).await {
        let rows = format!("SELECT DISTINCT '{table}' FROM {table} WHERE machine_id = '{machine}'");
        traces.extend(s.rows(&rows).await);
    }
    traces
}

#[tokio::test]
async fn tags_and_idle_items_go_and_other_machines_stay() {
    let mut s = Scenario::new().await;
    let (machine, other) = (s.with_all_tags("a").await, s.with_all_tags("b").await);
    let all = traces(&s, machine).await;
    s.delete(machine).await.unwrap();
    assert_eq!(traces(&s, machine).await, [""; 0]);
    assert_eq!(traces(&s, other).await, all);
    assert_eq!(
        all,
        [
            "machine_agent_heartbeat",
            "machine_agent_started",
            "machine_hardware_report",
            "machine_hold",
            "machine_os_installation_report",
            "machine_os_installation_request",
            "machine_provided",
            "machines",
            "work_item",
        ]
    );
}

#[tokio::test]
async fn a_machine_with_work_in_progress_is_kept_with_everything_it_has() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    let before = traces(&s, machine).await;
    let error = s.delete(machine).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("machine {machine} has work in progress: wait for it to end, or release it first")
    );
    assert_eq!(traces(&s, machine).await, before);

    s.fail(&attempt, 1, "no answer").await;
    s.delete(machine).await.unwrap();
}

#[tokio::test]
async fn history_outlives_the_machine() {
    let mut s = Scenario::new().await;
    let machine = s.provided("a").await;
    let attempt = s.claim_one(&START).await;
    s.fail(&attempt, 1, "no answer").await;
    s.delete(machine).await.unwrap();
    assert_eq!(traces(&s, machine).await, ["work_attempt"]);
    let history =
        "SELECT machine_id, process, event, failed_cause FROM work_history ORDER BY timestamp";
    let (started, failed) = (
        "ShepherdAgentStart|Started|",
        "ShepherdAgentStart|Failed|no answer",
    );
    assert_eq!(
        s.rows(history).await,
        [
            format!("{machine}|{started}"),
            format!("{machine}|{failed}")
        ]
    );
}

#[tokio::test]
async fn an_unknown_machine_is_named() {
    let mut s = Scenario::new().await;
    let unknown = MachineId::random();
    let error = s.delete(unknown).await.unwrap_err();
    assert!(matches!(error, Error::NoSuchMachine(machine) if machine == unknown));
}
