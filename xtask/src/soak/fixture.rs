//! The database of the soak: a fleet whose machines are soon due again, and what it logs by itself.

use super::BACKOFF;
use crate::shell::Failure;
use bmdb_backoff::Backoff;
use bmdb_core::{Bmdb, Config, SessionOptions};
use bmdb_model::{Process, Provided, Provider, process};
use bmdb_testkit::TestDb;

const MACHINES: usize = 240;

/// The user of the workers: no superuser, for whom the limit of connections does not count.
const WORKER: &str = "soak";

/// Machines that were started are to be recovered soon; a table that nothing is ever deleted from has
/// every tag that a finish wrote. Lost machines take part again after a second or two.
pub(crate) const SCENE: &str = "
    CREATE OR REPLACE VIEW agent_silence AS
    SELECT p.machine_id, p.provider,
           coalesce(h.agent_heartbeat_at + interval '700 milliseconds',
                    s.agent_started_at + interval '1500 milliseconds') AS silent_at
    FROM machine_provided p
    JOIN machine_agent_started s ON s.machine_id = p.machine_id
    LEFT JOIN machine_agent_heartbeat h ON h.machine_id = p.machine_id;
    CREATE TABLE soak_tag (
        id bigint GENERATED ALWAYS AS IDENTITY, machine_id uuid NOT NULL, fence bigint NOT NULL);";

/// The policy of all failures.
pub(crate) fn policy() -> Backoff {
    BACKOFF
}

/// Makes the fleet and the workers' user; returns the workers' URL, before any proxy.
pub(crate) async fn make(db: &TestDb, connections: usize) -> Result<String, Failure> {
    db.run_sql(SCENE).await.map_err(Failure::check)?;
    let mut conn = db.connect().await.map_err(Failure::check)?;
    for name in [
        Process::SHEPHERD_AGENT_START,
        Process::SHEPHERD_ACCESS,
        Process::SHEPHERD_RECOVERY,
    ] {
        let definition = process::of(&mut conn, &name).await;
        let definition = definition.map_err(Failure::check)?.loss_delay(1, 2);
        process::define(&mut conn, &definition)
            .await
            .map_err(Failure::check)?;
    }
    add_machines(db.url()).await?;
    let user = format!(
        "CREATE ROLE {WORKER} LOGIN;
         GRANT ALL ON ALL TABLES IN SCHEMA public TO {WORKER};
         GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {WORKER};
         ALTER DATABASE {} CONNECTION LIMIT {connections}",
        db.name()
    );
    for statement in user.split(';') {
        db.run_sql(statement).await.map_err(Failure::check)?;
    }
    Ok(db.url().replacen("//postgres@", &format!("//{WORKER}@"), 1))
}

async fn add_machines(url: &str) -> Result<(), Failure> {
    let bmdb = Bmdb::connect(Config::new(url).component("soak").runtime_info("scene"))
        .await
        .map_err(Failure::check)?;
    let session = bmdb
        .start_session(SessionOptions::default())
        .await
        .map_err(Failure::check)?;
    session
        .transact(async |tx| {
            for number in 0..MACHINES {
                let machine = tx.create_machine().await?;
                let provider = [Provider::EQUINIX, Provider::LUMEN][number % 2].clone();
                let provided = Provided::new(provider, number.to_string());
                tx.set_provided(machine, &provided).await?;
            }
            Ok(())
        })
        .await
        .map_err(Failure::check)?;
    session.close().await.map_err(Failure::check)
}
