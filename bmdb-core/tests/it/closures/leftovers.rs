//! Leftovers: what a closure leaves on its connection does not outlive its transaction.

use super::{pid, with_one_connection, with_table};
use bmdb_core::{Tx, TxError};
use diesel_async::{RunQueryDsl, SimpleAsyncConnection};

async fn value(tx: &mut Tx<'_>, sql: &str) -> Result<String, TxError> {
    let value = diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>(sql));
    Ok(value.get_result(tx).await?)
}

// One closure changed the time zone for its report, and from then on each user of that connection computed with
// it. The same goes for everything else that outlives a transaction.
#[tokio::test]
async fn what_a_closure_leaves_on_its_connection_does_not_reach_the_next_user() {
    let s = with_table().await;
    let (_bmdb, session) = with_one_connection(&s.db).await;
    for (sql, seen) in [
        ("SET TIME ZONE 'Asia/Tokyo'", "current_setting('TimeZone')"),
        (
            "SET search_path = pg_catalog, public",
            "current_setting('search_path')",
        ),
        (
            "SET statement_timeout = 1234",
            "current_setting('statement_timeout')",
        ),
        (
            "SET ROLE NONE; RESET ROLE; SET my.setting = 'x'",
            "coalesce(current_setting('my.setting', true), '')",
        ),
        (
            "SELECT set_config('my.other', 'x', false)",
            "coalesce(current_setting('my.other', true), '')",
        ),
        (
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "current_setting('default_transaction_isolation')",
        ),
        ("RESET ALL", "current_setting('search_path')"),
        (
            "LISTEN somebody",
            "(SELECT count(*)::text FROM pg_listening_channels())",
        ),
        (
            "CREATE TEMP TABLE scratch (n int)",
            "coalesce(to_regclass('pg_temp.scratch')::text, '')",
        ),
        (
            "SELECT pg_advisory_lock(42)",
            "(SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())",
        ),
        (
            "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            "(SELECT count(*)::text FROM pg_cursors)",
        ),
        (
            "PREPARE p AS SELECT 1",
            "(SELECT count(*)::text FROM pg_prepared_statements WHERE from_sql)",
        ),
        (
            "DO $$ BEGIN PERFORM set_config('my.third', 'x', false); END $$",
            "coalesce(current_setting('my.third', true), '')",
        ),
    ] {
        let look = async || {
            session
                .transact(async |tx| value(tx, seen).await)
                .await
                .unwrap()
        };
        let before = look().await;
        let changing = session.transact(async |tx| {
            tx.batch_execute(sql).await?;
            Ok(())
        });
        changing.await.unwrap();
        assert_eq!(look().await, before, "{sql}");
    }
    let locks = "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 42";
    assert_eq!(s.rows(locks).await, [""; 0]);
}

// DEALLOCATE ALL takes the statements away that bmdb has prepared on the connection.
#[tokio::test]
async fn a_closure_that_deallocates_all_statements_commits_and_harms_nobody() {
    let s = with_table().await;
    let (_bmdb, session) = with_one_connection(&s.db).await;
    for _ in 0..3 {
        let created = session.transact(async |tx| {
            let machine = tx.create_machine().await?;
            tx.batch_execute("DEALLOCATE ALL").await?;
            Ok(machine)
        });
        created.await.unwrap();
        session
            .transact(async |tx| tx.create_machine().await)
            .await
            .unwrap();
    }
    assert_eq!(s.rows("SELECT count(*) FROM machines").await, ["6"]);
}

// What lasts as long as the transaction is nobody else's business, and costs no connection.
#[tokio::test]
async fn settings_of_the_transaction_cost_no_connection() {
    let s = with_table().await;
    let (_bmdb, session) = with_one_connection(&s.db).await;
    let used = async |sql: &str| {
        let pid = session.transact(async |tx| {
            tx.batch_execute(sql).await?;
            pid(tx).await
        });
        pid.await.unwrap()
    };
    let first = used("SET LOCAL statement_timeout = 1000").await;
    for sql in [
        "SELECT pg_advisory_xact_lock(1)",
        "SELECT 'COMMIT; SET x = 1'",
        "INSERT INTO note VALUES (1)",
    ] {
        assert_eq!(used(sql).await, first, "{sql}");
    }
    assert_ne!(used("SET work_mem = '1MB'").await, 0);
    assert_ne!(used("SELECT 1").await, first);
}
