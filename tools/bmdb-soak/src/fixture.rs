//! The database of a run: a fleet whose machines are soon due again, and the run's own logs.

mod limits;

pub(crate) use limits::{CHECK, change_limit, move_lane, restore_lane};

use crate::failure::Done;
use bmdb_backoff::{Backoff, Factor, Seconds};
use bmdb_core::{Bmdb, Config, SessionOptions};
use bmdb_model::{AgentStarted, Process, Provided, Provider, process};
use bmdb_testkit::TestDb;

/// The component of all workers, by which their connections are recognized.
pub(crate) const COMPONENT: &str = "soak";

/// The policy of all failures: 1, 2, 4, 5, 5, … seconds.
pub(crate) const BACKOFF: Backoff = match (Seconds::new(1), Seconds::new(5)) {
    (Some(initial), Some(maximum)) => Backoff::exponential(initial, maximum, Factor::from_int(2)),
    _ => Backoff::fixed(Seconds::MAX),
};

/// The user of the soak's workers. It is not a superuser, to whom the limit of connections would not
/// apply.
const WORKER: &str = "soak";

/// The key of agents that were started before the run.
const FIRST_KEY: &str = "none";

/// Short times of silence, so that machines are recovered within the run, and tables from which nothing
/// is deleted: the tags that finishes wrote, the heartbeats that were acknowledged, when the transaction
/// of each claim began and when it had its slots, and what was in force when.
pub(crate) const SCHEMA: &str = include_str!("fixture/schema.sql");

/// Makes the run's own tables and a fleet of that many machines, a third of them with an agent.
pub(crate) async fn make(db: &TestDb, machines: usize) -> Done {
    db.run_sql(SCHEMA).await?;
    let mut conn = db.connect().await?;
    for name in [
        Process::SHEPHERD_AGENT_START,
        Process::SHEPHERD_ACCESS,
        Process::SHEPHERD_RECOVERY,
    ] {
        // Machines of expired sessions are due again after a second or two.
        let definition = process::of(&mut conn, &name).await?.loss_delay(1, 2);
        process::define(&mut conn, &definition).await?;
    }
    limits::make(db, &mut conn).await?;
    let config = Config::new(db.url()).component("fixture");
    let bmdb = Bmdb::connect(config).await?;
    let session = bmdb.start_session(SessionOptions::default()).await?;
    session
        .transact(async |tx| {
            for number in 0..machines {
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
        .await?;
    Ok(session.close().await?)
}

/// Makes the workers' user, with a limit of connections; returns the URL for it.
pub(crate) async fn make_worker(db: &TestDb, connections: usize) -> Done<String> {
    for statement in [
        format!("CREATE ROLE {WORKER} LOGIN"),
        format!("GRANT ALL ON ALL TABLES IN SCHEMA public TO {WORKER}"),
        format!("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {WORKER}"),
        format!(
            "ALTER DATABASE {} CONNECTION LIMIT {connections}",
            db.name()
        ),
    ] {
        db.run_sql(&statement).await?;
    }
    let url = db.admin_url();
    Ok(url.replacen("//postgres@", &format!("//{WORKER}@"), 1))
}
