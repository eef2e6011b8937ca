//! Statements that are pipelined with a `BEGIN` or a `COMMIT` run in that transaction and in order,
//! whether or not they were prepared before.

use crate::scenario::{START, Scenario};
use bmdb_model::connection::{Access, Isolation};
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::plan::KnownDefinitions;
use bmdb_model::internal::{connection, plan, session};
use bmdb_model::{
    AgentStarted, Error, ErrorKind, MachineId, Process, ProcessDef, SessionId, agent, machine,
    process,
};
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use std::sync::Arc;
use std::time::Duration;

const READ_COMMITTED: Isolation = Isolation::ReadCommitted;

/// Opens a transaction in which `machine` is locked and the agent was started, not planned yet.
async fn start_agent(
    s: &Scenario,
    conn: &mut AsyncPgConnection,
    machine: MachineId,
) -> Result<plan::Definitions, Error> {
    let begun = session::begin_fenced_touching(conn, READ_COMMITTED, s.session, &[machine]).await;
    begun?.expect("the session lives");
    agent::set_started(conn, machine, &AgentStarted::now(b"key")).await?;
    plan::definitions(conn).await
}

impl Scenario {
    async fn version(&self, machine: MachineId) -> String {
        let version =
            format!("SELECT machine_version FROM machines WHERE machine_id = '{machine}'");
        self.db.rows(&version).await.unwrap().remove(0)
    }

    async fn agents(&self) -> Vec<String> {
        let agents = "SELECT machine_id FROM machine_agent_started";
        self.db.rows(agents).await.unwrap()
    }
}

#[tokio::test]
async fn the_touch_the_write_and_the_plan_commit_at_once_with_and_without_preparing() {
    let s = Scenario::new().await;
    // Nothing is prepared on it.
    let mut conn = s.db.connect().await.unwrap();
    for id in ["first", "second"] {
        let machine = s.provided(id).await;
        let definitions = start_agent(&s, &mut conn, machine).await.unwrap();
        plan::replan_and_commit(&mut conn, &[machine], &definitions, Notify::On)
            .await
            .unwrap();
        let transactions = format!(
            "SELECT m.xmin = a.xmin AND a.xmin = i.xmin, i.eligible
             FROM machines m JOIN machine_agent_started a USING (machine_id)
             JOIN work_item i USING (machine_id)
             WHERE m.machine_id = '{machine}' AND i.process = '{START}'"
        );
        assert_eq!(s.db.rows(&transactions).await.unwrap(), ["t|f"], "{id}");
    }
}

/// Begins a transaction that touches the machine, with the definitions to plan by.
async fn begin_touching(
    conn: &mut AsyncPgConnection,
    known: &KnownDefinitions,
    session: SessionId,
    machine: MachineId,
) -> Arc<plan::Definitions> {
    let begun = session::begin_fenced_touching(conn, READ_COMMITTED, session, &[machine]).await;
    known.of(conn, begun.unwrap().unwrap()).await.unwrap()
}

#[tokio::test]
async fn a_plan_fails_if_definitions_changed_while_a_lock_was_awaited_and_is_right_the_second_time()
{
    let mut s = Scenario::new().await;
    let mut conn = s.db.connect().await.unwrap();
    // Components never add a process.
    let mut owner = s.db.connect().await.unwrap();
    let machine = s.provided("1").await;
    let (known, session) = (KnownDefinitions::default(), s.session);
    begin_touching(&mut conn, &known, session, machine).await;
    connection::roll_back(&mut conn).await.unwrap();
    for name in ["First", "Second"] {
        // Another transaction has locked the machine.
        connection::begin(&mut s.conn, READ_COMMITTED, Access::ReadWrite)
            .await
            .unwrap();
        machine::touch(&mut s.conn, &[machine]).await.unwrap();
        let of_waiting = known.clone();
        let waiting = tokio::spawn(async move {
            for expected in [Err(ErrorKind::Serialization), Ok(())] {
                let definitions = begin_touching(&mut conn, &of_waiting, session, machine).await;
                let planned =
                    plan::replan_and_commit(&mut conn, &[machine], &definitions, Notify::Off).await;
                assert_eq!(planned.map_err(|error| error.kind()), expected);
            }
            conn
        });
        let waits = "SELECT count(*) FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while s.db.rows(waits).await.unwrap() != ["1"] {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let process = Process::new(name).unwrap();
        let definition = ProcessDef::new(process).workflow("workflow_agent_start");
        process::define(&mut owner, &definition).await.unwrap();
        connection::commit(&mut s.conn).await.unwrap();
        conn = waiting.await.unwrap();
        let planned = format!("SELECT eligible FROM work_item WHERE process = '{name}'");
        assert_eq!(s.db.rows(&planned).await.unwrap(), ["t"], "{name}");
    }
}

#[tokio::test]
async fn an_expired_session_touches_nothing() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let before = s.version(machine).await;
    s.db.expire(s.session).await.unwrap();
    let mut conn = s.db.connect().await.unwrap();
    let begun =
        session::begin_fenced_touching(&mut conn, READ_COMMITTED, s.session, &[machine]).await;
    assert_eq!(begun.unwrap(), None);
    connection::roll_back(&mut conn).await.unwrap();
    assert_eq!(s.version(machine).await, before);

    let access = Access::ReadOnly;
    let begun = session::begin_fenced(&mut conn, READ_COMMITTED, access, s.session).await;
    assert_eq!(begun.unwrap(), None);
}

#[tokio::test]
async fn an_unknown_machine_is_an_error_and_the_transaction_stays_open() {
    let s = Scenario::new().await;
    let mut conn = s.db.connect().await.unwrap();
    let unknown = MachineId::random();
    let begun =
        session::begin_fenced_touching(&mut conn, READ_COMMITTED, s.session, &[unknown]).await;
    assert!(matches!(begun.unwrap_err(), Error::NoSuchMachine(id) if id == unknown));
    connection::roll_back(&mut conn).await.unwrap();
}

#[tokio::test]
async fn a_failed_plan_is_not_committed() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let mut conn = s.db.connect().await.unwrap();
    let definitions = start_agent(&s, &mut conn, machine).await.unwrap();
    conn.batch_execute("DROP VIEW workflow_agent_start")
        .await
        .unwrap();
    let error = plan::replan_and_commit(&mut conn, &[machine], &definitions, Notify::On)
        .await
        .unwrap_err();
    assert!(
        error.to_string().contains("workflow_agent_start"),
        "{error}"
    );
    assert_eq!(s.agents().await, [""; 0]);

    // The transaction is over, and the connection can be used again.
    let definitions = start_agent(&s, &mut conn, machine).await.unwrap();
    plan::replan_and_commit(&mut conn, &[machine], &definitions, Notify::On)
        .await
        .unwrap();
    assert_eq!(s.agents().await, [machine.to_string()]);
}

#[tokio::test]
async fn an_aborted_transaction_does_not_count_as_committed() {
    let s = Scenario::new().await;
    let machine = s.provided("1").await;
    let mut conn = s.db.connect().await.unwrap();
    start_agent(&s, &mut conn, machine).await.unwrap();
    conn.batch_execute("SELECT 1 / 0").await.unwrap_err();
    let error = connection::check_not_aborted_and_commit(&mut conn)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Aborted);
    assert_eq!(s.agents().await, [""; 0]);
    start_agent(&s, &mut conn, machine).await.unwrap();
    connection::check_not_aborted_and_commit(&mut conn)
        .await
        .unwrap();
    assert_eq!(s.agents().await, [machine.to_string()]);
}

#[tokio::test]
async fn a_transaction_within_a_transaction_is_refused() {
    let s = Scenario::new().await;
    let mut conn = s.db.connect().await.unwrap();
    let access = Access::ReadWrite;
    let begin = async |conn: &mut AsyncPgConnection| {
        session::begin_fenced(conn, READ_COMMITTED, access, s.session).await
    };
    assert!(begin(&mut conn).await.unwrap().is_some());
    begin(&mut conn).await.unwrap_err();
    connection::commit(&mut conn).await.unwrap();
    assert!(begin(&mut conn).await.unwrap().is_some());
}

#[tokio::test]
async fn a_lost_connection_is_reported_and_in_no_transaction() {
    let s = Scenario::new().await;
    let mut conn = s.db.connect().await.unwrap();
    let machine = s.provided("1").await;
    let definitions = start_agent(&s, &mut conn, machine).await.unwrap();
    s.db.run_sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND state = 'idle in transaction'",
    )
    .await
    .unwrap();
    let error = plan::replan_and_commit(&mut conn, &[machine], &definitions, Notify::On)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
    let access = Access::ReadWrite;
    let error = session::begin_fenced(&mut conn, READ_COMMITTED, access, s.session)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionLost, "{error}");
    assert_eq!(s.agents().await, [""; 0]);
}
