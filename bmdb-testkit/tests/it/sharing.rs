//! One server, several processes: templates are made once, unused databases are dropped.

use crate::{Result, child, dedicated_server};
use bmdb_testkit::{Profile, Server, TestDb};
use std::env;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test]
async fn the_database_of_a_failed_test_is_kept_and_its_psql_line_printed() -> Result {
    if env::var(child::VARIABLE).is_ok() {
        let db = TestDb::new().await?;
        child::print("name", db.name());
        panic!("like a failing test");
    }
    let server = dedicated_server::boot(Profile::Fast)?;
    let test = "sharing::the_database_of_a_failed_test_is_kept_and_its_psql_line_printed";
    let mut process = child::child_on(&server, test, "panic")?;
    let name = child::read(&mut process, "name")?;
    let output = process.wait_with_output()?;
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    let line = printed
        .lines()
        .find(|line| line.contains("psql") && line.contains(&name))
        .ok_or_else(|| format!("no psql line in {printed}"))?;

    // A later process does not drop it.
    let later = Arc::new(Server::running(server.url())?);
    let mine = TestDb::on(&later).await?;
    let psql = line
        .split_once("psql ")
        .map_or("", |(_, url)| url.trim_matches('\''));
    assert!(psql.contains(&name), "{line}");
    let kept = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = ";
    assert_eq!(
        mine.rows(&format!("{kept}'{name}'")).await?,
        ["kept: its test failed"]
    );
    Ok(())
}

#[tokio::test]
async fn databases_of_dead_processes_are_dropped_and_those_of_living_ones_are_not() -> Result {
    if let Ok(by) = env::var(child::VARIABLE) {
        let db = TestDb::new().await?;
        child::print("name", db.name());
        child::die(&by);
    }
    let server = dedicated_server::boot(Profile::Fast)?;
    let test = "sharing::databases_of_dead_processes_are_dropped_and_those_of_living_ones_are_not";
    let mut dead = child::child_on(&server, test, "SIGKILL")?;
    let mut living = child::child_on(&server, test, "SIGKILL")?;
    let (dead_name, living_name) = (
        child::read(&mut dead, "name")?,
        child::read(&mut living, "name")?,
    );
    dead.kill()?;
    dead.wait()?;

    let later = Arc::new(Server::running(server.url())?);
    let mine = TestDb::on(&later).await?;
    let left = "SELECT count(*) FROM pg_database WHERE datname = ";
    let begun = Instant::now();
    // The server takes a moment to close the killed process's connection, so the first process may
    // look too early.
    while mine.rows(&format!("{left}'{dead_name}'")).await? != ["0"] {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "{dead_name} is still there"
        );
        TestDb::on(&Arc::new(Server::running(server.url())?)).await?;
    }
    assert_eq!(mine.rows(&format!("{left}'{living_name}'")).await?, ["1"]);
    living.kill()?;
    living.wait()?;
    Ok(())
}

#[tokio::test]
async fn a_dropped_database_is_removed_in_the_background() -> Result {
    let base = TestDb::empty().await?;
    let server = Arc::new(Server::running(base.url())?);
    let (dropped, witness) = (TestDb::on(&server).await?, TestDb::on(&server).await?);
    let left = format!(
        "SELECT count(*) FROM pg_database WHERE datname = '{}'",
        dropped.name()
    );
    let _connected = dropped.connect().await?;
    drop(dropped);
    let begun = Instant::now();
    while witness.rows(&left).await? != ["0"] {
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "it is still there"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

#[tokio::test]
async fn a_template_without_the_mark_of_completeness_is_made_again() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let before = TestDb::on(&server).await?;
    let templates =
        "SELECT oid FROM pg_database WHERE datname ~ '^bmdb_template_' AND datistemplate";
    let old = before.rows(templates).await?;
    before
        .run_sql(
            "UPDATE pg_database SET datistemplate = false, datallowconn = true
             WHERE datname ~ '^bmdb_template_'",
        )
        .await?;
    // As another process: this one remembers that the template was complete.
    let after = TestDb::on(&Arc::new(Server::running(server.url())?)).await?;
    let new = after.rows(templates).await?;
    assert_eq!((old.len(), new.len()), (1, 1));
    assert_ne!(old, new);
    assert_eq!(after.rows("SELECT count(*) FROM machines").await?, ["0"]);
    Ok(())
}
