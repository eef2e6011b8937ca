//! Templates that cannot be made: the error says which step and why, and nothing stays behind.

use super::{migration, seen_anew, source, templates};
use crate::{Result, child, dedicated_server};
use bmdb_testkit::{Profile, Server, Template, TestDb, TestkitError};
use std::env;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// What a template that cannot be made says; and that a next call says the same, which it would not
/// if it took what the first one left for a template.
async fn error_of(template: &Template, server: &Arc<Server>) -> Result<String> {
    let witness = Template::empty().database_on(server).await?;
    let before = templates(&witness).await?;
    let mut said = Vec::new();
    for server in [server.clone(), server.clone(), seen_anew(server)?] {
        match template.database_on(&server).await {
            Err(error @ TestkitError::Template { .. }) => said.push(error.to_string()),
            other => return Err(format!("{other:?}").into()),
        }
        assert_eq!(templates(&witness).await?, before, "something was left");
    }
    assert!(said.iter().all(|again| *again == said[0]), "{said:?}");
    Ok(said.remove(0))
}

fn assert_says(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
}

#[tokio::test]
async fn a_failing_migration_is_named_with_the_servers_words() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let folder = migration("2027-01-01-000000_racks", "CREATE TABLE racks (name t)")?;
    let template = Template::new().migrations(source(&folder)?);
    let said = error_of(&template, &server).await?;
    let parts = [
        "your migrations",
        "2027-01-01-000000_racks",
        "type \"t\" does not exist",
    ];
    assert_says(&said, &parts);
    Ok(())
}

#[tokio::test]
async fn a_migration_with_a_version_of_bmdbs_is_refused_instead_of_passed_over() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let folder = migration("2026-11-22-000100_racks", "CREATE TABLE racks ()")?;
    let template = Template::new().migrations(source(&folder)?);
    let said = error_of(&template, &server).await?;
    assert_says(&said, &["2026-11-22-000100_racks", "have the same version"]);
    Ok(())
}

#[tokio::test]
async fn a_failing_statement_is_told_with_the_servers_words() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let statements = "
        INSERT INTO racks (name, room)
        VALUES ('A1', 'cellar')";
    let template = Template::empty()
        .sql("CREATE TABLE rooms ()")
        .sql(statements);
    let said = error_of(&template, &server).await?;
    let parts = [
        "the statements `INSERT INTO racks (name, room) VALUES ('…`",
        "relation \"racks\" does not exist (42P01)",
    ];
    assert_says(&said, &parts);
    Ok(())
}

#[tokio::test]
async fn a_failing_seed_is_named_with_its_own_words() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let template = Template::empty().seed("v7", |_| async { Err("no racks today") });
    let said = error_of(&template, &server).await?;
    assert_says(&said, &["the seed \"v7\": no racks today"]);
    Ok(())
}

#[tokio::test]
async fn a_panicking_seed_is_an_error_and_keeps_nobody_waiting() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let panic: fn(&str) -> Result<(), String> = |url| panic!("no racks in {}", url.len() > 1);
    let template = Template::empty().seed("v1", move |url| async move { panic(&url) });
    let begun = Instant::now();
    let said = error_of(&template, &server).await?;
    assert_says(&said, &["the seed \"v1\": it panicked: no racks in true"]);
    // Before it returns a future, too.
    let template = Template::empty().seed("v2", move |url| {
        let seeded = panic(&url);
        async { seeded }
    });
    let said = error_of(&template, &server).await?;
    assert_says(&said, &["the seed \"v2\": it panicked"]);
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
async fn a_seed_that_fails_once_is_tried_anew() -> Result {
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
async fn a_test_that_is_given_up_while_its_template_is_made_keeps_nobody_waiting() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let hanging = Template::empty().seed("v1", |_| pending::<Result<(), String>>());
    let given_up = hanging.database_on(&server);
    assert!(
        tokio::time::timeout(Duration::from_millis(300), given_up)
            .await
            .is_err()
    );
    // As another process, which cannot take over the lock of the first one's session.
    let begun = Instant::now();
    let other = Template::empty().sql("SELECT 1");
    other.database_on(&seen_anew(&server)?).await?;
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "the lock was held"
    );
    Ok(())
}

#[tokio::test]
async fn a_seed_that_leaves_a_connection_open_is_not_waited_for_without_end() -> Result {
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
        let said = template
            .database()
            .await
            .map(drop)
            .map_err(|e| e.to_string());
        child::say("said", &format!("{said:?}"));
        child::die("exit");
    }
    let server = Arc::new(dedicated_server::boot(Profile::Fast)?);
    let test =
        "template::failures::a_seed_that_leaves_a_connection_open_is_not_waited_for_without_end";
    let mut command = child::command(test, "exit")?;
    command
        .env("BMDB_TEST_DATABASE_URL", server.url())
        .env("BMDB_TESTKIT_TIMEOUT", "1");
    let mut process = command.spawn()?;
    let said = child::hear(&mut process, "said")?;
    process.wait()?;
    assert_says(
        &said,
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
