//! Queries over our tables and bmdb's, and a database of its own for each test.

use crate::{Result, TEMPLATE, machine, session};
use bmdb_model::{AgentStarted, Process};
use racks::rack;

#[tokio::test]
async fn the_machines_of_a_rack_are_listed_with_their_agents() -> Result {
    let db = TEMPLATE.database().await?;
    let (lower, upper) = (machine(&db, "A1", 3).await?, machine(&db, "A1", 7).await?);
    let session = session(db.url()).await?;
    let agent = AgentStarted::now(b"its key");
    let started = session.transact(async |tx| tx.set_agent_started(upper, &agent).await);
    started.await?;

    let mut conn = db.connect().await?;
    let machines = rack::machines(&mut conn, "A1").await?;
    let listed: Vec<_> = machines
        .iter()
        .map(|placed| {
            (
                placed.unit,
                placed.machine,
                placed.agent_started_at.is_some(),
            )
        })
        .collect();
    assert_eq!(listed, [(3, lower, false), (7, upper, true)]);

    // A machine with an agent is not due for one. bmdb has planned that in the same transaction.
    let due = rack::due(&mut conn, "A1", &Process::SHEPHERD_AGENT_START).await?;
    assert_eq!(due, [lower]);
    Ok(())
}

#[tokio::test]
async fn a_test_does_not_see_the_changes_of_another() -> Result {
    let (mine, theirs) = tokio::try_join!(TEMPLATE.database(), TEMPLATE.database())?;
    mine.run_sql("DELETE FROM rack_units").await?;
    let machines = "SELECT rack, count(*) FROM rack_units GROUP BY rack ORDER BY rack";
    assert_eq!(mine.rows(machines).await?, [""; 0]);
    // `rows` returns the lines that `psql -At` prints.
    assert_eq!(theirs.rows(machines).await?, ["A1|2", "B2|1"]);
    Ok(())
}
