//! The database of the stress: its machines, its short deadlines, and what it logs by itself.

use super::legal::connect;
use super::worker::{ACCESS, RECOVERY, START};
use crate::wait::until;
use bmdb_core::SessionOptions;
use bmdb_model::{AgentStarted, ProcessDef, Provided, Provider, process};
use bmdb_testkit::TestDb;

pub(super) const PROCESSES: u32 = 4;
/// In each process.
pub(super) const WORKERS: u32 = 4;
pub(super) const MACHINES: usize = 160;

/// The key of agents that were started before the stress.
const FIRST_KEY: &str = "none";

/// Deadlines that pass within the run, and tables that nothing is ever deleted from: every tag that
/// a finish wrote, every heartbeat that was acknowledged, and when the transaction of each claim
/// for recovery began.
const SCENE: &str = "
    CREATE OR REPLACE VIEW agent_silence AS
    SELECT p.machine_id, p.provider,
           coalesce(h.agent_heartbeat_at + interval '700 milliseconds',
                    s.agent_started_at + interval '1500 milliseconds') AS silent_at
    FROM machine_provided p
    JOIN machine_agent_started s ON s.machine_id = p.machine_id
    LEFT JOIN machine_agent_heartbeat h ON h.machine_id = p.machine_id;
    CREATE TABLE tag_log (
        id bigint GENERATED ALWAYS AS IDENTITY, machine_id uuid NOT NULL, fence bigint NOT NULL);
    CREATE TABLE heartbeat_log (
        machine_id uuid NOT NULL, sent_at timestamptz NOT NULL, acknowledged_at timestamptz NOT NULL);
    CREATE TABLE recovery_log (
        machine_id uuid NOT NULL, fence bigint NOT NULL, began_at timestamptz NOT NULL);
    CREATE FUNCTION log_recovery() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO recovery_log VALUES (new.machine_id, new.fence, now());
            RETURN NULL;
        END $$;
    CREATE TRIGGER log_recovery AFTER UPDATE ON work_item FOR EACH ROW
        WHEN (new.process = 'ShepherdRecovery'
              AND old.session_id IS NULL AND new.session_id IS NOT NULL)
        EXECUTE FUNCTION log_recovery();";

/// A database in which everything may begin.
pub(super) async fn new(sabotage: &str) -> TestDb {
    let db = TestDb::new().await.unwrap();
    db.run_sql(SCENE).await.unwrap();
    let mut conn = db.connect().await.unwrap();
    for name in [START, ACCESS, RECOVERY] {
        let definition = process::of(&mut conn, &name).await.unwrap();
        // Lost machines take part again.
        let brief: ProcessDef = definition.loss_delay(1, 2);
        process::define(&mut conn, &brief).await.unwrap();
    }
    let bmdb = connect(db.url()).await;
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    session
        .transact(async |tx| {
            for number in 0..MACHINES {
                let machine = tx.create_machine().await?;
                let provider = [Provider::EQUINIX, Provider::LUMEN][number % 2].clone();
                let provided = Provided::new(provider, number.to_string());
                tx.set_provided(machine, &provided).await?;
                if number % 3 == 0 {
                    tx.set_agent_started(machine, &AgentStarted::now(FIRST_KEY))
                        .await?;
                }
            }
            Ok(())
        })
        .await
        .unwrap();
    session.close().await.unwrap();
    db.run_sql(sabotage).await.unwrap();
    db
}

/// Once every lease has run out, a janitor leaves nothing held by the dead: the longest lease is 2 s.
pub(super) async fn come_to_rest(db: &TestDb) {
    let _janitor = connect(db.url()).await;
    until(db, "NOT EXISTS (SELECT FROM sessions)").await;
}
