//! A workflow of our own: bmdb plans it by our tags and its own, whichever program writes them.

use crate::{Result, TEMPLATE, due, flashed, machine, session, want};
use bmdb_model::{Provided, Provider};
use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::now;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use diesel_async::RunQueryDsl;
use racks::firmware::{self, Wanted};
use racks::flash::Flashed;
use std::time::Duration;

#[tokio::test]
async fn a_machine_is_due_while_its_version_differs_from_the_wanted_one() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    assert_eq!(flashed(&session, Ok(())).await?, []);

    for version in ["2.1", "2.2"] {
        want(&session, &[only], version).await?;
        let installed = Flashed::Installed(only, version.to_owned());
        assert_eq!(flashed(&session, Ok(())).await?, [installed]);
        assert_eq!(flashed(&session, Ok(())).await?, []);
        let recorded = firmware::installed(&mut db.connect().await?, only).await?;
        assert_eq!(recorded.map(|row| row.version).as_deref(), Some(version));
    }
    // It has this version already.
    want(&session, &[only], "2.2").await?;
    assert_eq!(due(&session).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_machine_is_not_due_after_its_wanted_version_was_deleted() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    want(&session, &[only], "2.1").await?;
    assert_eq!(due(&session).await?, [only]);
    let deleted = session.transact(async |tx| firmware::unwant(tx, only).await);
    assert!(deleted.await?);
    assert_eq!(due(&session).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_machine_is_not_due_before_its_maintenance_window() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    // The window is compared with the database's clock, so the time comes from the database.
    let start: DateTime<Utc> = diesel::select(now.into_sql::<Timestamptz>())
        .get_result(&mut db.connect().await?)
        .await?;
    let tonight = Wanted {
        version: "2.1".to_owned(),
        not_before: Some(start + TimeDelta::hours(6)),
    };
    let wanted = session.transact(async |tx| firmware::want(tx, &[only], &tonight).await);
    wanted.await?;
    db.advance(Duration::from_secs(5 * 3600)).await?;
    assert_eq!(due(&session).await?, []);
    db.advance(Duration::from_secs(3600)).await?;
    assert_eq!(due(&session).await?, [only]);
    Ok(())
}

// In these two tests another program writes bmdb's tags. It knows nothing of firmware and calls none of
// our functions.

#[tokio::test]
async fn a_machine_is_due_once_another_program_sets_its_provider() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let bare = session.transact(async |tx| tx.create_machine().await);
    let bare = bare.await?;
    want(&session, &[bare], "2.1").await?;
    assert_eq!(due(&session).await?, []);

    let other_program = crate::session(db.url()).await?;
    let provided = Provided::new(Provider::from_static("south"), "s-1");
    let written = other_program.transact(async |tx| tx.set_provided(bare, &provided).await);
    written.await?;
    assert_eq!(due(&session).await?, [bare]);
    // Only in that provider's queue.
    assert_eq!(flashed(&session, Ok(())).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_machine_on_hold_is_not_due_until_it_is_released() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    want(&session, &[only], "2.1").await?;

    let other_program = crate::session(db.url()).await?;
    let put_on_hold = other_program.transact(async |tx| tx.hold(only, "smells of smoke").await);
    put_on_hold.await?;
    assert_eq!(due(&session).await?, []);
    let released = other_program.transact(async |tx| tx.release_hold(only).await);
    assert!(released.await?);
    assert_eq!(due(&session).await?, [only]);
    Ok(())
}
