//! A database per test: what it holds, and what becomes of it.

use crate::Result;
use bmdb_model::migration;
use bmdb_testkit::TestDb;

#[tokio::test]
async fn a_new_database_has_every_migration() -> Result {
    let db = TestDb::new().await?;
    migration::check(&mut db.connect().await?).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_database_is_nobody_elses() -> Result {
    let (one, other) = tokio::try_join!(TestDb::new(), TestDb::new())?;
    one.execute("INSERT INTO machines (machine_id) VALUES (gen_random_uuid())")
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
