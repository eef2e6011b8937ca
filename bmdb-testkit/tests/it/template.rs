//! Templates: the contents of their clones, and which changes make a new template.

mod failures;

use crate::folder::Folder;
use crate::{Result, dedicated_server};
use bmdb_testkit::{Profile, Server, Template, TestDb};
use diesel_migrations::FileBasedMigrations;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// A folder with one migration.
fn migration(name: &str, up: &str) -> Result<Folder> {
    let folder = Folder::new()?;
    fs::create_dir(folder.path().join(name))?;
    fs::write(folder.path().join(name).join("up.sql"), up)?;
    Ok(folder)
}

fn source(folder: &Folder) -> Result<FileBasedMigrations> {
    Ok(FileBasedMigrations::from_path(folder.path())?)
}

/// The server as another process sees it, which remembers no template.
fn from_another_process(server: &Server) -> Result<Arc<Server>> {
    Ok(Arc::new(Server::running(server.url())?))
}

async fn templates(db: &TestDb) -> Result<Vec<String>> {
    let templates = "SELECT datname FROM pg_database WHERE datname ~ '^bmdb_template_'";
    Ok(db.rows(templates).await?)
}

/// A seed that counts how often it runs.
fn counting(version: &str, runs: &Arc<AtomicU32>) -> Template {
    let runs = runs.clone();
    Template::empty().seed(version, move |url| {
        let runs = runs.clone();
        async move {
            let run = runs.fetch_add(1, Ordering::SeqCst) + 1;
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
            let connection = tokio::spawn(connection);
            client
                .batch_execute(&format!("CREATE TABLE run AS SELECT {run} AS number"))
                .await?;
            drop(client);
            // Waits until the connection is closed.
            let ended = connection.await;
            ended.map_err(Box::<dyn std::error::Error + Send + Sync>::from)??;
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        }
    })
}

#[tokio::test]
async fn steps_run_after_bmdbs_migrations_in_the_order_of_the_calls() -> Result {
    let folder = migration(
        "2027-01-01-000000_units",
        "CREATE TABLE units (machine_id uuid REFERENCES machines, rack text REFERENCES racks)",
    )?;
    let db = Template::new()
        .sql("CREATE TABLE racks (name text PRIMARY KEY)")
        .migrations(source(&folder)?)
        .sql("INSERT INTO racks VALUES ('A1'); INSERT INTO units (rack) VALUES ('A1')")
        .database()
        .await?;
    assert_eq!(db.rows("SELECT rack FROM units").await?, ["A1"]);
    Ok(())
}

#[tokio::test]
async fn a_clone_is_isolated_from_its_template_and_from_other_clones() -> Result {
    let template = Template::empty().sql("CREATE TABLE racks AS SELECT 'A1' AS name");
    let one = template.database().await?;
    one.run_sql("DELETE FROM racks").await?;
    let other = template.database().await?;
    assert_eq!(one.rows("SELECT name FROM racks").await?, [""; 0]);
    assert_eq!(other.rows("SELECT name FROM racks").await?, ["A1"]);
    Ok(())
}

#[tokio::test]
async fn an_edited_migration_makes_a_new_template() -> Result {
    let name = "2027-01-01-000000_racks";
    for rack in ["A1", "B2"] {
        let folder = migration(
            name,
            &format!("CREATE TABLE racks AS SELECT '{rack}' AS name"),
        )?;
        let db = Template::new()
            .migrations(source(&folder)?)
            .database()
            .await?;
        assert_eq!(db.rows("SELECT name FROM racks").await?, [rack]);
    }
    Ok(())
}

#[tokio::test]
async fn a_migration_edited_between_two_calls_makes_a_new_template() -> Result {
    let name = "2027-01-01-000000_racks";
    let folder = migration(name, "CREATE TABLE racks AS SELECT 'A1' AS name")?;
    let template = Template::new().migrations(source(&folder)?);
    let before = template.database().await?;
    let edited = folder.path().join(name).join("up.sql");
    fs::write(edited, "CREATE TABLE racks AS SELECT 'B2' AS name")?;
    let after = template.database().await?;
    assert_eq!(before.rows("SELECT name FROM racks").await?, ["A1"]);
    assert_eq!(after.rows("SELECT name FROM racks").await?, ["B2"]);
    Ok(())
}

#[tokio::test]
async fn an_edited_statement_makes_a_new_template() -> Result {
    for rack in ["A1", "B2"] {
        let statement = format!("CREATE TABLE racks AS SELECT '{rack}' AS name");
        let db = Template::empty().sql(statement).database().await?;
        assert_eq!(db.rows("SELECT name FROM racks").await?, [rack]);
    }
    Ok(())
}

#[tokio::test]
async fn a_seed_runs_once_for_each_version_on_a_server() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let runs = Arc::new(AtomicU32::new(0));
    // The last process finds a template that it has not made.
    for (version, server, expected) in [
        ("v1", server.clone(), "1"),
        ("v1", server.clone(), "1"),
        ("v2", server.clone(), "2"),
        ("v1", from_another_process(&server)?, "1"),
    ] {
        let db = counting(version, &runs).database_on(&server).await?;
        assert_eq!(db.rows("SELECT number FROM run").await?, [expected]);
    }
    assert_eq!(runs.load(Ordering::SeqCst), 2);
    Ok(())
}

#[tokio::test]
async fn a_seed_runs_once_if_several_processes_need_it_at_the_same_time() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let runs = Arc::new(AtomicU32::new(0));
    let template = counting("v1", &runs);
    let (a, b, c, d) = (
        from_another_process(&server)?,
        from_another_process(&server)?,
        from_another_process(&server)?,
        from_another_process(&server)?,
    );
    let databases = tokio::try_join!(
        template.database_on(&a),
        template.database_on(&b),
        template.database_on(&c),
        template.database_on(&d),
    )?;
    assert_eq!(databases.3.rows("SELECT number FROM run").await?, ["1"]);
    assert_eq!(runs.load(Ordering::SeqCst), 1);
    Ok(())
}

#[tokio::test]
async fn a_connection_of_a_seed_may_close_late() -> Result {
    let server = dedicated_server::server(Profile::Fast).await?;
    let template = Template::empty().seed(
        "v1",
        async |url: String| -> Result<(), tokio_postgres::Error> {
            let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await?;
            tokio::spawn(connection);
            tokio::spawn(async move {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                drop(client);
            });
            Ok(())
        },
    );
    template.database_on(&server).await?;
    Ok(())
}
