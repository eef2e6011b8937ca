//! Fixtures: machines with tags, and sessions, in one line each.
//!
//! They only write rows. Without [`NewMachine::planned`] they do not plan, so the machine has no work
//! items and no claim finds it.

use crate::time::interval;
use crate::{TestDb, TestkitError};
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::plan;
use bmdb_model::{MachineId, Provider, SessionId};
use diesel_async::SimpleAsyncConnection;
use std::fmt::Write;
use std::time::Duration;

impl TestDb {
    /// A new machine. Add its tags, and write it with `create`:
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), bmdb_testkit::TestkitError> {
    /// # let db = bmdb_testkit::TestDb::new().await?;
    /// # use {bmdb_model::Provider, std::time::Duration};
    /// let machine = db.machine().provided(&Provider::from_static("fra1"), "rack-a-07").planned().create().await?;
    /// let silent = Duration::from_secs(11 * 60);
    /// db.machine().provided(&Provider::LUMEN, "id-2").agent_started(silent).create().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use = "the machine is written by `create`"]
    pub fn machine(&self) -> NewMachine<'_> {
        let machine = MachineId::random();
        NewMachine {
            db: self,
            machine,
            sql: format!("INSERT INTO machines (machine_id) VALUES ('{machine}');\n"),
            planned: false,
        }
    }

    /// A session of a component named `fixture` that is alive for `lease` from now on, rounded up to
    /// whole seconds. It has no heartbeat.
    ///
    /// # Errors
    /// [`TestkitError::Database`].
    pub async fn session(&self, lease: Duration) -> Result<SessionId, TestkitError> {
        let session = SessionId::random();
        let seconds = lease.as_millis().div_ceil(1000);
        self.run_sql(&format!(
            "INSERT INTO sessions (session_id, session_component_name, session_runtime_info,
                                   session_interval_seconds, session_deadline)
             VALUES ('{session}', 'fixture', 'testkit', {seconds},
                     clock_timestamp() + interval '{seconds} seconds')"
        ))
        .await?;
        Ok(session)
    }
}

/// A machine that is not written yet: see [`TestDb::machine`].
#[derive(Debug)]
#[must_use = "the machine is written by `create`"]
pub struct NewMachine<'a> {
    db: &'a TestDb,
    machine: MachineId,
    sql: String,
    planned: bool,
}

impl NewMachine<'_> {
    /// The machine comes from this provider.
    pub fn provided(self, provider: &Provider, id: &str) -> Self {
        let values = format!("'{provider}', {}", quoted(id));
        self.tag("machine_provided", "provider, provider_id", &values)
    }

    /// Its agent was started this long ago, with the public key `key`.
    pub fn agent_started(self, ago: Duration) -> Self {
        let values = format!("{}, 'key'", before(ago));
        let columns = "agent_started_at, agent_public_key";
        self.tag("machine_agent_started", columns, &values)
    }

    /// Its agent sent its last heartbeat this long ago.
    pub fn agent_heartbeat(self, ago: Duration) -> Self {
        let at = before(ago);
        self.tag("machine_agent_heartbeat", "agent_heartbeat_at", &at)
    }

    /// It is on hold for this reason.
    pub fn hold(self, reason: &str) -> Self {
        self.tag("machine_hold", "reason", &quoted(reason))
    }

    /// Its agent has sent this hardware report.
    pub fn hardware_report(self, raw: &[u8]) -> Self {
        let raw = bytes(raw);
        self.tag("machine_hardware_report", "hardware_report_raw", &raw)
    }

    /// An operating system installation of this generation was requested.
    pub fn os_installation_request(self, generation: i64, raw: &[u8]) -> Self {
        let values = format!("{generation}, {}", bytes(raw));
        let columns = "generation, os_installation_request_raw";
        self.tag("machine_os_installation_request", columns, &values)
    }

    /// The installation of this generation ended with `result`: `Success` or `Error`.
    pub fn os_installation_report(self, generation: i64, result: &str) -> Self {
        let values = format!("{generation}, {}, ''", quoted(result));
        let columns = "generation, os_installation_result, os_installation_report_raw";
        self.tag("machine_os_installation_report", columns, &values)
    }

    /// Plans the machine as well, so that it has work items and pollers are notified, as after the same
    /// writes by a component.
    pub fn planned(mut self) -> Self {
        self.planned = true;
        self
    }

    /// Writes the machine and its tags in one transaction.
    ///
    /// # Errors
    /// [`TestkitError::Diesel`].
    pub async fn create(self) -> Result<MachineId, TestkitError> {
        let mut conn = self.db.connect().await?;
        conn.batch_execute(&format!("BEGIN;\n{}", self.sql)).await?;
        if self.planned {
            let machines = [self.machine];
            let planned = plan::replan_notifying(&mut conn, &machines, Notify::On).await;
            planned.map_err(|error| TestkitError::Diesel(Box::new(error)))?;
        }
        conn.batch_execute("COMMIT").await?;
        Ok(self.machine)
    }

    fn tag(mut self, table: &str, columns: &str, values: &str) -> Self {
        let machine = self.machine;
        // Writing to a String does not fail.
        let _ = writeln!(
            self.sql,
            "INSERT INTO {table} (machine_id, {columns}) VALUES ('{machine}', {values});"
        );
        self
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn bytes(raw: &[u8]) -> String {
    let hex: String = raw.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("'\\x{hex}'")
}

fn before(ago: Duration) -> String {
    format!("clock_timestamp() - {}", interval(ago))
}
