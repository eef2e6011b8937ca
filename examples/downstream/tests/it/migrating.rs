//! Production's way to the same tables.

use crate::Result;
use bmdb_testkit::TestDb;

#[tokio::test]
async fn an_empty_database_is_brought_up_to_date_once() -> Result {
    let db = TestDb::empty().await?;
    racks::migrate(db.url()).await?;
    let versions = "SELECT version FROM __diesel_schema_migrations ORDER BY version";
    let after = db.rows(versions).await?;
    assert!(after.ends_with(&["20261201000100".to_owned(), "20261201000200".to_owned()]));

    racks::migrate(db.url()).await?;
    assert_eq!(db.rows(versions).await?, after);
    Ok(())
}
