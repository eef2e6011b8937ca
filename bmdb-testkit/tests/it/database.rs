//! A database per test: its contents, and what it costs.

use crate::{Result, dedicated_server};
use bmdb_model::migration;
use bmdb_testkit::{Profile, Server, TestDb};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

#[tokio::test]
async fn a_new_database_has_every_migration() -> Result {
    let db = TestDb::new().await?;
    migration::check(&mut db.connect().await?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_is_isolated_from_others() -> Result {
    let (one, other) = tokio::try_join!(TestDb::new(), TestDb::new())?;
    one.run_sql("INSERT INTO machines (machine_id) VALUES (gen_random_uuid())")
        .await?;
    assert_eq!(one.rows("SELECT count(*) FROM machines").await?, ["1"]);
    assert_eq!(other.rows("SELECT count(*) FROM machines").await?, ["0"]);
    Ok(())
}

#[tokio::test]
async fn an_empty_database_has_no_tables() -> Result {
    let db = TestDb::empty().await?;
    let tables = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace";
    assert!(db.rows(tables).await?.is_empty());
    Ok(())
}

#[tokio::test]
async fn a_database_at_a_version_has_the_migrations_up_to_it() -> Result {
    let db = TestDb::at_version("20261122000200").await?;
    let status = migration::status(&mut db.connect().await?).await?;
    assert!(
        status
            .iter()
            .all(|m| m.applied == (m.version.as_str() <= "20261122000200"))
    );
    let error = TestDb::at_version("1").await.unwrap_err().to_string();
    assert!(
        error.starts_with("there is no migration 1; the known ones are 2026"),
        "{error}"
    );
    Ok(())
}

#[tokio::test]
async fn a_database_costs_one_statement_and_the_first_of_a_process_two_more() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let first = TestDb::on(&server).await?;
    // Until then the database manager has finished what it does in a pause.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for sql in [
        "ALTER SYSTEM SET log_statement = 'all'",
        "ALTER SYSTEM SET log_line_prefix = '%a|'",
        "SELECT pg_reload_conf()",
    ] {
        first.run_sql(sql).await?;
    }
    let later = "SELECT current_setting('log_statement')";
    while first.rows(later).await? != ["all"] {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let second = TestDb::on(&server).await?;
    let log = server.folder().ok_or("no folder")?.join("log");
    let statements = || -> Result<Vec<String>> {
        let text = fs::read_to_string(&log)?;
        let ours = text
            .lines()
            .filter(|line| line.starts_with("bmdb-testkit "));
        let statements = ours.filter_map(|line| line.split_once("LOG:  ")?.1.split_once(": "));
        Ok(statements.map(|(_, sql)| sql.to_owned()).collect())
    };
    let for_second = statements()?;
    assert_eq!(for_second.len(), 1, "{for_second:#?}");
    assert!(for_second[0].starts_with(&format!("CREATE DATABASE {}", second.name())));

    // As in another process, whose manager drops stale databases, but only later.
    let other = Arc::new(Server::running(server.url())?);
    let third = TestDb::on(&other).await?;
    let all = statements()?;
    let create = format!("CREATE DATABASE {}", third.name());
    let upto = all.iter().position(|sql| sql.starts_with(&create));
    assert_eq!(
        upto.ok_or("not created")? + 1 - for_second.len(),
        3,
        "{all:#?}"
    );
    Ok(())
}
