//! The control loop that commissions a rack's machines one by one.

use crate::{Result, TEMPLATE, machine, session};
use racks::commission::{Step, step};
use racks::rack;
use std::time::Duration;

#[tokio::test]
async fn only_the_machines_of_the_rack_are_commissioned() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let mut commissioned = Vec::new();
    while let Step::Commissioned(machine) =
        step(&session, "A1", async |_| Ok(b"its key".to_vec())).await?
    {
        commissioned.push(machine);
    }
    let expected = [machine(&db, "A1", 3).await?, machine(&db, "A1", 7).await?];
    assert_eq!(commissioned, expected);

    let mut conn = db.connect().await?;
    for (rack, is_done) in [("A1", true), ("B2", false)] {
        for placed in rack::machines(&mut conn, rack).await? {
            assert_eq!(placed.agent_started_at.is_some(), is_done, "{placed:?}");
            assert_eq!(placed.commissioned_by.is_some(), is_done, "{placed:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_machine_that_failed_is_not_tried_again_until_its_backoff_is_over() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    let silent = async |_| Err("no answer on port 22".to_owned());
    assert_eq!(step(&session, "B2", silent).await?, Step::Failed(only));
    assert_eq!(step(&session, "B2", silent).await?, Step::Idle);

    // Instead of sleeping for a minute: all recorded times move into the past, in our tables as well.
    db.advance(Duration::from_secs(61)).await?;
    let answers = async |_| Ok(b"its key".to_vec());
    assert_eq!(
        step(&session, "B2", answers).await?,
        Step::Commissioned(only)
    );

    let recent = "SELECT commissioned_at > now() - interval '1 day' FROM commissioned";
    assert_eq!(db.rows(recent).await?, ["t"]);
    db.advance(Duration::from_secs(25 * 3600)).await?;
    assert_eq!(db.rows(recent).await?, ["f"]);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_has_lost_its_lease_records_nothing() -> Result {
    let db = TEMPLATE.database().await?;
    let lost = session(db.url()).await?;
    // The worker is slow: its lease expires while it starts the agent.
    let slow = async |_| {
        let expired = db.expire(lost.id()).await;
        expired
            .map(|()| b"its key".to_vec())
            .map_err(|e| e.to_string())
    };
    let error = step(&lost, "B2", slow).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the session has expired: start a new one"
    );

    let machines = rack::machines(&mut db.connect().await?, "B2").await?;
    assert_eq!(machines[0].agent_started_at, None);
    assert_eq!(machines[0].commissioned_by, None);
    Ok(())
}
