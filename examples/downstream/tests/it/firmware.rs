//! A workflow of our own: bmdb plans it by our tags, whoever has written what.

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
async fn a_machine_is_due_while_it_has_another_version_than_the_wanted_one() -> Result {
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
    // What it has already is nothing to do.
    want(&session, &[only], "2.2").await?;
    assert_eq!(due(&session).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_wish_that_is_taken_back_is_not_due() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    want(&session, &[only], "2.1").await?;
    assert_eq!(due(&session).await?, [only]);
    let taken_back = session.transact(async |tx| firmware::unwant(tx, only).await);
    assert!(taken_back.await?);
    assert_eq!(due(&session).await?, []);
    Ok(())
}

#[tokio::test]
async fn nothing_is_flashed_before_its_maintenance_window() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    // Whoever compares with the database's clock asks the database for the time.
    let asked: DateTime<Utc> = diesel::select(now.into_sql::<Timestamptz>())
        .get_result(&mut db.connect().await?)
        .await?;
    let tonight = Wanted {
        version: "2.1".to_owned(),
        not_before: Some(asked + TimeDelta::hours(6)),
    };
    let wanted = session.transact(async |tx| firmware::want(tx, &[only], &tonight).await);
    wanted.await?;
    db.advance(Duration::from_secs(5 * 3600)).await?;
    assert_eq!(due(&session).await?, []);
    db.advance(Duration::from_secs(3600)).await?;
    assert_eq!(due(&session).await?, [only]);
    Ok(())
}

// The writers of these two tests are programs that have never heard of firmware: they write bmdb's
// tags, and nothing of ours is called.

#[tokio::test]
async fn a_machine_is_due_from_when_anybody_says_where_it_comes_from() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let bare = session.transact(async |tx| tx.create_machine().await);
    let bare = bare.await?;
    want(&session, &[bare], "2.1").await?;
    assert_eq!(due(&session).await?, []);

    let stranger = crate::session(db.url()).await?;
    let provided = Provided::new(Provider::LUMEN, "l-1");
    let written = stranger.transact(async |tx| tx.set_provided(bare, &provided).await);
    written.await?;
    assert_eq!(due(&session).await?, [bare]);
    // In the queue of that provider, and in no other.
    assert_eq!(flashed(&session, Ok(())).await?, []);
    Ok(())
}

#[tokio::test]
async fn a_machine_on_hold_is_not_due_until_it_is_released() -> Result {
    let db = TEMPLATE.database().await?;
    let session = session(db.url()).await?;
    let only = machine(&db, "B2", 1).await?;
    want(&session, &[only], "2.1").await?;

    let stranger = crate::session(db.url()).await?;
    let held = stranger.transact(async |tx| tx.hold(only, "smells of smoke").await);
    held.await?;
    assert_eq!(due(&session).await?, []);
    let released = stranger.transact(async |tx| tx.release_hold(only).await);
    assert!(released.await?);
    assert_eq!(due(&session).await?, [only]);
    Ok(())
}
