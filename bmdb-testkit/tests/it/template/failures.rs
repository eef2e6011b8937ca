//! Templates that cannot be made: the error names the step and the reason, and nothing stays behind.

use super::{from_another_process, migration, source, templates};
use crate::{Result, child, dedicated_server};
use bmdb_testkit::{Profile, Server, Template, TestDb, TestkitError};
use std::env;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// The error of a template that cannot be made. Checks that later calls return the same error, which
/// they would not if they took leftovers of the first one for a template.
async fn error_of(template: &Template, server: &Arc<Server>) -> Result<String> {
    let witness = Template::empty().database_on(server).await?;
    let before = templates(&witness).await?;
    let mut errors = Vec::new();
    for server in [
        server.clone(),
        server.clone(),
        from_another_process(server)?,
    ] {
        match template.database_on(&server).await {
            Err(error @ TestkitError::Template { .. }) => errors.push(error.to_string()),
            other => return Err(format!("{other:?}").into()),
        }
        assert_eq!(templates(&witness).await?, before, "something was left");
    }
    assert!(errors.iter().all(|error| *error == errors[0]), "{errors:?}");
    Ok(errors.remove(0))
}

fn assert_contains(error: &str, parts: &[&str]) {
    for part in parts {
        assert!(error.contains(part), "no {part:?} in {error}");
    }
}

#[tokio::test]
async fn the_error_of_a_failing_migration_names_it_and_quotes_the_server() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let folder = migration("2027-01-01-000000_racks", "CREATE TABLE racks (name t)")?;
    let template = Template::new().migrations(source(&folder)?);
    let error = error_of(&template, &server).await?;
    let parts = [
        "your migrations",
        "2027-01-01-000000_racks",
        "type \"t\" does not exist",
    ];
    assert_contains(&error, &parts);
    Ok(())
}

#[tokio::test]
async fn a_migration_with_the_version_of_one_of_bmdbs_is_an_error() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let folder = migration("2026-11-22-000100_racks", "CREATE TABLE racks ()")?;
    let template = Template::new().migrations(source(&folder)?);
    let error = error_of(&template, &server).await?;
    assert_contains(
        &error,
        &["2026-11-22-000100_racks", "have the same version"],
    );
    Ok(())
}

#[tokio::test]
async fn the_error_of_a_failing_statement_quotes_the_server() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let statements = "
        INSERT INTO racks (name, room)
        VALUES ('A1', 'cellar')";
    let template = Template::empty()
        .sql("CREATE TABLE rooms ()")
        .sql(statements);
    let error = error_of(&template, &server).await?;
    let parts = [
        "the statements `INSERT INTO racks (name, room) VALUES ('…`",
        "relation \"racks\" does not exist (42P01)",
    ];
    assert_contains(&error, &parts);
    Ok(())
}

#[tokio::test]
async fn the_error_of_a_failing_seed_names_it_and_quotes_its_error() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let template = Template::empty().seed("v7", |_| async { Err("no racks today") });
    let error = error_of(&template, &server).await?;
    assert_contains(&error, &["the seed \"v7\": no racks today"]);
    Ok(())
}

#[tokio::test]
async fn a_panicking_seed_is_an_error_and_releases_the_lock() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let panic: fn(&str) -> Result<(), String> = |url| panic!("no racks in {}", url.len() > 1);
    let template = Template::empty().seed("v1", move |url| async move { panic(&url) });
    let begun = Instant::now();
    let error = error_of(&template, &server).await?;
    assert_contains(&error, &["the seed \"v1\": it panicked: no racks in true"]);
    // Also if it panics before it returns a future.
    let template = Template::empty().seed("v2", move |url| {
        let seeded = panic(&url);
        async { seeded }
    });
    let error = error_of(&template, &server).await?;
    assert_contains(&error, &["the seed \"v2\": it panicked"]);
    Template::empty()
        .sql("SELECT 1")
        .database_on(&server)
        .await?;
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "the lock was held"
    );
    Ok(())
}

#[tokio::test]
async fn a_seed_that_failed_runs_again() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let runs = Arc::new(AtomicU32::new(0));
    let counted = runs.clone();
    let template = Template::empty().seed("v1", move |_| {
        let is_first = counted.fetch_add(1, Ordering::SeqCst) == 0;
        async move { if is_first { Err("not yet") } else { Ok(()) } }
    });
    assert!(template.database_on(&server).await.is_err());
    template.database_on(&server).await?;
    template.database_on(&server).await?;
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    Ok(())
}

#[tokio::test]
async fn a_test_canceled_while_it_makes_a_template_releases_the_lock() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let hanging = Template::empty().seed("v1", |_| pending::<Result<(), String>>());
    let canceled = hanging.database_on(&server);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), canceled)
            .await
            .is_err()
    );
    // As another process, with a session of its own, which has to wait for the lock.
    let begun = Instant::now();
    let other = Template::empty().sql("SELECT 1");
    other.database_on(&from_another_process(&server)?).await?;
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "the lock was held"
    );
    Ok(())
}

#[tokio::test]
async fn waiting_for_a_seed_that_leaves_a_connection_open_times_out() -> Result {
    if env::var(child::VARIABLE).is_ok() {
        let template = Template::empty().seed(
            "v1",
            async |url: String| -> Result<(), tokio_postgres::Error> {
                let (client, connection) =
                    tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
                tokio::spawn(connection);
                std::mem::forget(client);
                Ok(())
            },
        );
        let result = template
            .database()
            .await
            .map(drop)
            .map_err(|e| e.to_string());
        child::print("result", &format!("{result:?}"));
        child::die("exit");
    }
    let server = Arc::new(dedicated_server::boot(Profile::Fast)?);
    let test = "template::failures::waiting_for_a_seed_that_leaves_a_connection_open_times_out";
    let mut command = child::command(test, "exit")?;
    command
        .env("BMDB_TEST_DATABASE_URL", server.url())
        .env("BMDB_TESTKIT_TIMEOUT", "1");
    let mut process = command.spawn()?;
    let result = child::read(&mut process, "result")?;
    process.wait()?;
    assert_contains(
        &result,
        &[
            "waited 1 s",
            "the connections of a template's seed to be closed",
        ],
    );
    assert_eq!(
        templates(&TestDb::on(&server).await?).await?.len(),
        1,
        "something was left"
    );
    Ok(())
}
