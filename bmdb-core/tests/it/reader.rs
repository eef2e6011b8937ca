//! Reader: each read sees one snapshot and never writes.

use bmdb_core::{Config, Reader, TxError};
use bmdb_model::{MachineId, counts, machine};
use bmdb_testkit::TestDb;

async fn reader(db: &TestDb) -> Reader {
    Reader::connect(Config::new(db.url()).pool_size(1))
        .await
        .unwrap()
}

#[tokio::test]
async fn all_statements_of_a_read_see_the_same_snapshot() {
    let db = TestDb::new().await.unwrap();
    let reader = reader(&db).await;
    let counted = reader.read(async |conn| {
        let before = counts::fleet(conn).await?.machines;
        db.machine().create().await.map_err(TxError::abort)?;
        Ok((before, counts::fleet(conn).await?.machines))
    });
    assert_eq!(counted.await.unwrap(), (0, 0));
    let after = reader.read(async |conn| Ok(counts::fleet(conn).await?.machines));
    assert_eq!(after.await.unwrap(), 1);
}

#[tokio::test]
async fn a_read_that_tries_to_write_fails_and_its_connection_stays_usable() {
    let db = TestDb::new().await.unwrap();
    let reader = reader(&db).await;
    let written =
        reader.read(async |conn| Ok(machine::create(conn, &[MachineId::random()]).await?));
    let error = written.await.unwrap_err().to_string();
    assert!(error.contains("read-only transaction"), "{error}");
    let machines = reader.read(async |conn| Ok(counts::fleet(conn).await?.machines));
    assert_eq!(machines.await.unwrap(), 0);
}

#[tokio::test]
async fn a_reader_starts_no_session_and_leaves_no_transaction_open() {
    let db = TestDb::new().await.unwrap();
    let reader = reader(&db).await;
    reader
        .read(async |conn| Ok(counts::fleet(conn).await?))
        .await
        .unwrap();
    let sessions = db.rows("SELECT count(*) FROM sessions").await.unwrap();
    assert_eq!(sessions, ["0"]);
    let open = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                AND state LIKE 'idle in transaction%'";
    assert_eq!(db.rows(open).await.unwrap(), ["0"]);
}
