//! Standbys: what they contain, what they refuse, and fail-over.

use crate::crash::{connect, eventually, wait_for_processes};
use crate::{Result, dedicated_server};
use bmdb_testkit::{Profile, Replication, Server, TestDb};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_commits_survive_a_fail_over_to_a_synchronous_standby() -> Result {
    let primary = dedicated_server::server(Profile::Durable).await?;
    let db = TestDb::on(&primary).await?;
    db.run_sql("CREATE TABLE notes (n int)").await?;
    let standby = primary.standby(Replication::Synchronous)?;

    let acknowledged = Arc::new(AtomicU32::new(0));
    let (client, counter) = (connect(db.url()).await?, acknowledged.clone());
    let writer = tokio::spawn(async move {
        for n in 1.. {
            let insert = format!("INSERT INTO notes VALUES ({n})");
            if client.batch_execute(&insert).await.is_err() {
                break;
            }
            counter.store(n, Ordering::Relaxed);
        }
    });
    eventually("a hundred rows", async || {
        Ok(acknowledged.load(Ordering::Relaxed) >= 100)
    })
    .await?;
    primary.kill9()?;
    standby.promote()?;
    writer.await?;

    let program = connect(&db.url_with(&[&standby])).await?;
    let rows = program.query_one("SELECT count(*), max(n) FROM notes", &[]);
    let (count, last): (i64, i32) = {
        let row = rows.await?;
        (row.get(0), row.get(1))
    };
    assert_eq!(count, i64::from(last), "there is a gap");
    assert!(last >= acknowledged.load(Ordering::Relaxed).try_into()?);
    Ok(())
}

#[tokio::test]
async fn a_url_with_the_standby_finds_the_server_that_accepts_writes() -> Result {
    let primary = dedicated_server::server(Profile::Durable).await?;
    let db = TestDb::on(&primary).await?;
    let standby = primary.standby(Replication::Asynchronous)?;
    let url = db.url_with(&[&standby]);
    let folder = "SELECT setting FROM pg_settings WHERE name = 'unix_socket_directories'";
    let found = async || -> Result<String> {
        let row = connect(&url).await?.query_one(folder, &[]).await?;
        Ok(row.get(0))
    };
    let folder_of = |server: &Server| server.folder().map(|path| path.display().to_string());
    assert_eq!(Some(found().await?), folder_of(&primary));
    primary.kill9()?;
    assert!(found().await.is_err(), "a standby does not accept writes");
    standby.promote()?;
    assert_eq!(Some(found().await?), folder_of(&standby));
    Ok(())
}

#[tokio::test]
async fn a_standby_accepts_only_reads_until_it_is_promoted() -> Result {
    let primary = dedicated_server::server(Profile::Durable).await?;
    let db = TestDb::on(&primary).await?;
    db.run_sql("CREATE TABLE notes (n int); INSERT INTO notes VALUES (1)")
        .await?;
    let standby = primary.standby(Replication::Asynchronous)?;
    let client = connect(&url_on(&standby, &db)).await?;
    let count = async || -> Result<i64> {
        let row = client.query_one("SELECT count(*) FROM notes", &[]).await?;
        Ok(row.get(0))
    };
    let write = "INSERT INTO notes VALUES (2)";
    assert_eq!(count().await?, 1);
    let refused = client.batch_execute(write).await.unwrap_err();
    assert_eq!(refused.code().map(|code| code.code()), Some("25006"));

    db.run_sql(write).await?;
    eventually("the row to arrive", async || Ok(count().await? == 2)).await?;
    standby.promote()?;
    client.batch_execute(write).await?;
    assert_eq!(count().await?, 3);
    Ok(())
}

#[tokio::test]
async fn commits_wait_for_every_synchronous_standby() -> Result {
    let primary = dedicated_server::server(Profile::Durable).await?;
    let db = TestDb::on(&primary).await?;
    db.run_sql("CREATE TABLE notes (n int)").await?;
    let first = primary.standby(Replication::Synchronous)?;
    let _second = primary.standby(Replication::Synchronous)?;
    db.run_sql("INSERT INTO notes VALUES (1)").await?;

    first.kill9()?;
    let waiting = db.run_sql("INSERT INTO notes VALUES (2)");
    let waited = tokio::time::timeout(Duration::from_millis(300), waiting).await;
    assert!(waited.is_err(), "it was acknowledged");
    first.restart()?;
    db.run_sql("INSERT INTO notes VALUES (3)").await?;
    Ok(())
}

#[tokio::test]
async fn a_restarted_standby_catches_up() -> Result {
    let primary = dedicated_server::server(Profile::Durable).await?;
    let db = TestDb::on(&primary).await?;
    let standby = primary.standby(Replication::Asynchronous)?;
    standby.kill9()?;
    // More than one segment of the log, and checkpoints that would remove it.
    db.run_sql("CREATE TABLE notes AS SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n")
        .await?;
    for _ in 0..3 {
        db.run_sql("CHECKPOINT").await?;
        db.run_sql("SELECT pg_switch_wal()").await?;
    }
    standby.restart()?;
    let client = connect(&url_on(&standby, &db)).await?;
    eventually("the table to arrive", async || {
        let count = client.query_one("SELECT count(*) FROM notes", &[]).await;
        Ok(count.is_ok_and(|row| row.get::<_, i64>(0) == 20000))
    })
    .await
}

#[tokio::test]
async fn a_promoted_standby_has_standbys_and_databases_of_its_own() -> Result {
    let primary = dedicated_server::server(Profile::Durable).await?;
    let db = TestDb::on(&primary).await?;
    db.run_sql("CREATE TABLE notes (n int)").await?;
    let standby = Arc::new(primary.standby(Replication::Synchronous)?);
    primary.kill9()?;
    standby.promote()?;

    let next = standby.standby(Replication::Synchronous)?;
    let new = TestDb::on(&standby).await?;
    new.run_sql("CREATE TABLE notes (n int); INSERT INTO notes VALUES (1)")
        .await?;
    // The old primary's databases are still in use, and must not be dropped as stale.
    let _other = TestDb::on(&standby).await?;
    let old = connect(&url_on(&standby, &db)).await?;
    old.batch_execute("INSERT INTO notes VALUES (2)").await?;

    standby.kill9()?;
    next.promote()?;
    let program = connect(&new.url_with(&[&next])).await?;
    program.query_one("SELECT n FROM notes", &[]).await?;
    Ok(())
}

#[test]
fn the_error_of_a_server_that_cannot_have_a_standby_says_what_to_do() -> Result {
    let fast = dedicated_server::boot(Profile::Fast)?;
    let error = fast.standby(Replication::Asynchronous).unwrap_err();
    assert!(error.to_string().contains("Profile::Durable"), "{error}");
    let error = fast.promote().unwrap_err();
    assert!(error.to_string().contains("Server::standby"), "{error}");

    let primary = dedicated_server::boot(Profile::Durable)?;
    let named = Server::running(primary.url())?;
    for error in [
        named.standby(Replication::Asynchronous).unwrap_err(),
        named.promote().unwrap_err(),
    ] {
        assert!(error.to_string().contains("Server::boot"), "{error}");
    }
    let standby = primary.standby(Replication::Asynchronous)?;
    let error = standby.standby(Replication::Asynchronous).unwrap_err();
    assert!(error.to_string().contains("ask its primary"), "{error}");
    Ok(())
}

#[test]
fn a_primary_and_its_standby_leave_no_process_and_no_folder() -> Result {
    for primary_goes_first in [true, false] {
        let primary = dedicated_server::boot(Profile::Durable)?;
        let standby = primary.standby(Replication::Synchronous)?;
        let folder_of = |server: &Server| server.folder().map(ToOwned::to_owned);
        let folders = [folder_of(&primary), folder_of(&standby)];
        let (first, second) = if primary_goes_first {
            (primary, standby)
        } else {
            (standby, primary)
        };
        drop(first);
        drop(second);
        for folder in folders {
            let folder = folder.ok_or("not booted")?;
            assert!(!folder.exists());
            wait_for_processes(&folder)?;
        }
    }
    Ok(())
}

/// A test's database as it is on this server, which only reads.
fn url_on(server: &Server, db: &TestDb) -> String {
    let administrative = server.url();
    administrative.replacen("/postgres?", &format!("/{}?", db.name()), 1)
}
