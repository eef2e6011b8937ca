//! The control loop for our process: flashing, backoffs, lanes and lost leases.

use crate::{Result, SITE, TEMPLATE, due, flashed, machine, session, want};
use bmdb_core::{Session, SessionOptions};
use bmdb_model::MachineId;
use racks::commission::{self, Step};
use racks::firmware;
use racks::flash::{Flash, Flashed, round};
use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::Barrier;

/// Flashes one machine, and calls `meanwhile` during that.
async fn flash_while(session: &Session, meanwhile: impl AsyncFn(&Flash) -> Result) -> Result {
    let flash = async |flash: &Flash| meanwhile(flash).await.map_err(|error| error.to_string());
    match round(session, &SITE, 1, flash).await?.as_slice() {
        [Flashed::Installed(..)] => Ok(()),
        other => Err(format!("{other:?}").into()),
    }
}

#[tokio::test]
async fn machines_are_flashed_concurrently_with_different_fences() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let rack = [machine(&db, "A1", 3).await?, machine(&db, "A1", 7).await?];
    want(&session, &rack, "2.1").await?;

    let (both, seen) = (Barrier::new(2), Mutex::new(Vec::new()));
    let flash = async |flash: &Flash| {
        // Each waits until the other has begun.
        let met = tokio::time::timeout(Duration::from_secs(30), both.wait());
        met.await.map_err(|error| error.to_string())?;
        seen.lock().unwrap().push(flash.clone());
        Ok(())
    };
    let done = round(&session, &SITE, 10, flash).await?;
    assert_eq!(done.len(), 2);
    let seen = seen.into_inner()?;
    let machines: BTreeSet<MachineId> = seen.iter().map(|flash| flash.machine).collect();
    assert_eq!(machines, BTreeSet::from(rack));
    assert_ne!(seen[0].fence, seen[1].fence);
    assert!(seen.iter().all(|flash| flash.version == "2.1"), "{seen:?}");
    Ok(())
}

#[tokio::test]
async fn a_round_flashes_no_more_machines_than_its_limit() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let rack = [machine(&db, "A1", 3).await?, machine(&db, "A1", 7).await?];
    want(&session, &rack, "2.1").await?;
    let mut flashed = Vec::new();
    for _ in rack {
        let done = round(&session, &SITE, 1, async |_| Ok(())).await?;
        assert_eq!(done.len(), 1, "{done:?}");
        flashed.extend(done);
    }
    assert_ne!(flashed[0], flashed[1]);
    assert_eq!(due(&session).await?, []);
    Ok(())
}

#[tokio::test]
async fn each_failure_of_a_machine_has_a_longer_backoff() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    want(&session, &[only], "2.1").await?;
    for minutes in [10, 30] {
        let failed = flashed(&session, Err("the image is damaged")).await?;
        assert_eq!(failed, [Flashed::Failed(only)]);
        db.advance(Duration::from_secs(minutes * 60 - 30)).await?;
        assert_eq!(due(&session).await?, []);
        db.advance(Duration::from_secs(31)).await?;
    }
    let causes = "SELECT process, cause, last_interval_seconds FROM work_backoff";
    assert_eq!(
        db.rows(causes).await?,
        ["RacksFirmwareUpdate|the image is damaged|1800"]
    );
    // The backoff applies only to this process: another one can claim the machine.
    let answers = async |_| Ok(b"its key".to_vec());
    let step = commission::step(&session, "B2", answers).await?;
    assert_eq!(step, Step::Commissioned(only));

    let installed = Flashed::Installed(only, "2.1".to_owned());
    assert_eq!(flashed(&session, Ok(())).await?, [installed]);
    assert_eq!(db.rows(causes).await?, [""; 0]);
    Ok(())
}

#[tokio::test]
async fn a_version_that_becomes_wanted_while_flashing_is_flashed_after_a_rest() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    want(&session, &[only], "2.1").await?;
    flash_while(&session, async |_| want(&session, &[only], "2.2").await).await?;
    // A machine that still needs the process right after its success rests for ten minutes.
    assert_eq!(due(&session).await?, []);
    db.advance(Duration::from_secs(600)).await?;
    let installed = Flashed::Installed(only, "2.2".to_owned());
    assert_eq!(flashed(&session, Ok(())).await?, [installed]);
    Ok(())
}

#[tokio::test]
async fn agents_are_not_started_while_a_machine_is_flashed_nor_the_reverse() -> Result {
    let db = TEMPLATE.database().await?;
    let (flashes, starts) = (session(db.url()).await?, session(db.url()).await?);
    let only = machine(&db, "B2", 1).await?;
    want(&flashes, &[only], "2.1").await?;
    let answers = async |_| Ok(b"its key".to_vec());
    flash_while(&flashes, async |_| {
        assert_eq!(commission::step(&starts, "B2", answers).await?, Step::Idle);
        Ok(())
    })
    .await?;

    want(&flashes, &[only], "2.2").await?;
    let start = async |_| {
        let due = due(&flashes).await.map_err(|error| error.to_string())?;
        assert_eq!(due, []);
        Ok(b"its key".to_vec())
    };
    let step = commission::step(&starts, "B2", start).await?;
    assert_eq!(step, Step::Commissioned(only));
    assert_eq!(due(&flashes).await?, [only]);
    Ok(())
}

#[tokio::test]
async fn a_worker_that_has_lost_its_lease_stops_flashing_and_records_nothing() -> Result {
    let db = TEMPLATE.database().await?;
    let bmdb = crate::connect(db.url()).await?;
    // The next heartbeat notices the lost lease; there are three in an interval.
    let brief = SessionOptions::default().interval(Duration::from_secs(1));
    let session = bmdb.start_session(brief).await?;
    let only = machine(&db, "B2", 1).await?;
    want(&session, &[only], "2.1").await?;
    let ended = flash_while(&session, async |_| {
        db.expire(session.id()).await?;
        std::future::pending().await
    });
    let error = tokio::time::timeout(Duration::from_secs(30), ended).await?;
    assert_eq!(
        error.unwrap_err().to_string(),
        "the session has expired: start a new one"
    );
    let installed = firmware::installed(&mut db.connect().await?, only).await?;
    assert_eq!(installed, None);
    Ok(())
}
