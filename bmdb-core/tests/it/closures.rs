//! Closures that misuse their transaction or its connection: noticed, and without consequences for others.

mod leftovers;

use crate::control_loop::{Does, options};
use crate::scenario::{RETRY, Scenario};
use bmdb_core::control_loop::{Commit, Runner, Shutdown};
use bmdb_core::{Bmdb, Config, Reader, Session, SessionOptions, Tx, TxError, WorkError};
use bmdb_model::{Process, Provided, Provider};
use bmdb_testkit::TestDb;
use diesel::sql_query;
use diesel_async::{
    AnsiTransactionManager, AsyncConnection, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection,
    TransactionManager,
};
use futures_util::FutureExt;
use std::time::Duration;

const HISTORY: &str = "SELECT outcome FROM work_attempt";

fn ended_by(error: &TxError) -> &str {
    match error {
        TxError::ClosureEndedTransaction { statement, .. } => statement,
        other => panic!("not noticed: {other:?}"),
    }
}

async fn with_table() -> Scenario {
    let s = Scenario::new().await;
    let table = "CREATE TABLE note (n int); GRANT ALL ON note TO PUBLIC";
    s.db.run_sql(table).await.unwrap();
    s
}

/// A component with one connection, so that each user meets what the one before left behind.
async fn with_one_connection(db: &TestDb) -> (Bmdb, Session) {
    let config = Config::new(db.url()).component("one").pool_size(1);
    let bmdb = Bmdb::connect(config.janitor_interval(None)).await.unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    (bmdb, session)
}

// A closure sent COMMIT to "save what it has so far" and went on writing. The rest was committed statement by
// statement without the fence, and the transaction returned Ok.
#[tokio::test]
async fn every_statement_that_ends_the_transaction_is_noticed() {
    for (sql, words) in [
        ("COMMIT", "COMMIT"),
        ("COMMIT; BEGIN", "COMMIT"),
        ("COMMIT AND CHAIN", "COMMIT AND CHAIN"),
        ("ROLLBACK", "ROLLBACK"),
        ("ROLLBACK; BEGIN", "ROLLBACK"),
        ("ROLLBACK AND CHAIN", "ROLLBACK AND CHAIN"),
        ("ABORT", "ABORT"),
        ("END", "END"),
        ("/* save */ commit work", "COMMIT WORK"),
        ("INSERT INTO note VALUES (3); COMMIT; BEGIN", "COMMIT"),
    ] {
        let s = with_table().await;
        let written = s.session.transact(async |tx| {
            tx.batch_execute("INSERT INTO note VALUES (1)").await?;
            tx.batch_execute(sql).await?;
            Ok(())
        });
        let error = written.await.unwrap_err();
        assert_eq!(ended_by(&error), words, "{sql}");
        let open = "SELECT count(*) FROM pg_stat_activity
                    WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
        assert_eq!(s.rows(open).await, ["0"], "{sql}");
        // The session is as good as before.
        let next = s.session.transact(async |tx| tx.create_machine().await);
        next.await.unwrap();
    }
}

// `ROLLBACK; BEGIN` undid the end of the work too. The finish returned Ok, and the machine stayed claimed for
// as long as its session lived.
#[tokio::test]
async fn a_finish_whose_closure_rolls_back_gives_the_work_back() {
    let s = with_table().await;
    let machine = s.provided("a").await;
    for sql in ["ROLLBACK; BEGIN", "ROLLBACK", "ROLLBACK AND CHAIN"] {
        let work = s.claim_one().await;
        let finished = work.finish(async |tx| {
            tx.batch_execute(sql).await?;
            sql_query("INSERT INTO note VALUES (1)").execute(tx).await?;
            Ok(())
        });
        let (error, work) = finished.await.unwrap_err().into_parts();
        ended_by(&error);
        assert_eq!(s.rows(HISTORY).await, [""; 0], "{sql}");
        work.expect("still claimed").cancel().await.unwrap();
        let again = s.claim_one().await;
        assert_eq!(again.machine(), machine, "{sql}");
        again.cancel().await.unwrap();
        s.db.run_sql("DELETE FROM work_attempt").await.unwrap();
    }
}

// A COMMIT in the closure of a finish commits the end with it. The error says so, and there is no work to end
// a second time.
#[tokio::test]
async fn a_finish_whose_closure_commits_has_ended_the_work_and_says_so() {
    let s = with_table().await;
    s.provided("a").await;
    let work = s.claim_one().await;
    let finished = work.finish(async |tx| {
        tx.batch_execute("INSERT INTO note VALUES (1); COMMIT")
            .await?;
        tx.batch_execute("BEGIN; INSERT INTO note VALUES (2)")
            .await?;
        Ok(())
    });
    let (error, work) = finished.await.unwrap_err().into_parts();
    assert_eq!(ended_by(&error), "COMMIT");
    let text = error.to_string();
    assert!(text.contains("before a COMMIT is committed"), "{text}");
    assert!(work.is_none());
    assert_eq!(s.rows(HISTORY).await, ["Finished"]);
    // The open transaction was rolled back.
    assert_eq!(s.rows("SELECT n FROM note").await, ["1"]);
}

// Machines that a closure created and committed by itself were not planned: nothing was due on them for up to an
// hour.
#[tokio::test]
async fn what_a_closure_commits_by_itself_is_planned() {
    let s = with_table().await;
    let created = s.session.transact(async |tx| {
        let machine = tx.create_machine().await?;
        let provided = Provided::new(Provider::EQUINIX, "a");
        tx.set_provided(machine, &provided).await?;
        tx.batch_execute("COMMIT").await?;
        Ok(machine)
    });
    assert_eq!(ended_by(&created.await.unwrap_err()), "COMMIT");
    s.claim_one().await.cancel().await.unwrap();
}

// A control loop's closure is a caller's too. Its machine fails, with the reason as its cause, or has finished
// if the closure committed that.
#[tokio::test]
async fn a_control_loop_whose_commit_ends_its_transaction_records_why() {
    for (sql, history) in [
        (
            "ROLLBACK; BEGIN",
            "Failed|what was achieved could not be committed: the closure ended",
        ),
        ("COMMIT", "Finished|"),
    ] {
        let s = with_table().await;
        s.provided("a").await;
        let does = Does::new(move |_, _| {
            let write = async move |tx: &mut Tx<'_>| Ok(tx.batch_execute(sql).await?);
            async move { Ok(Commit::tags(write)) }.boxed()
        });
        let runner = Runner::new(&s.bmdb, does).options(options().once(true));
        runner.run(Shutdown::new()).await.unwrap();
        let rows = s
            .rows("SELECT outcome, coalesce(cause, '') FROM work_attempt ORDER BY fence")
            .await;
        assert!(rows[0].starts_with(history), "{rows:?}");
        assert_eq!(
            s.rows("SELECT 1 FROM work_item WHERE session_id IS NOT NULL")
                .await,
            [""; 0]
        );
    }
}

// A closure that committed, went on, and then failed returned its own error, which promises that nothing was
// committed; a conflict even ran it a second time.
#[tokio::test]
async fn an_error_after_a_commit_does_not_hide_it_and_is_not_retried() {
    let s = with_table().await;
    let conflict = "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$";
    for last in [
        "SELECT 1 / 0",
        conflict,
        "BEGIN; SELECT 1 / 0",
        "COMMIT; BEGIN",
    ] {
        let written = s.session.transact(async |tx| {
            tx.batch_execute("INSERT INTO note VALUES (1)").await?;
            tx.batch_execute("COMMIT").await?;
            tx.batch_execute(last).await?;
            Err::<(), _>(TxError::abort("given up"))
        });
        let error = written.await.unwrap_err();
        assert_eq!(ended_by(&error), "COMMIT", "{last}");
        assert!(error.to_string().contains("then it failed"), "{error}");
        assert_eq!(
            s.rows("DELETE FROM note RETURNING n").await,
            ["1"],
            "{last}"
        );
    }
}

#[tokio::test]
#[allow(
    clippy::disallowed_methods,
    reason = "programs that use bmdb call it inside of a transaction"
)]
async fn nested_transactions_are_savepoints_as_before() {
    let s = with_table().await;
    let backend = async || {
        let pid = s.session.transact(async |tx| {
            let kept = tx.transaction(async |conn| {
                sql_query("INSERT INTO note VALUES (1)").execute(conn).await
            });
            kept.await?;
            let undone = tx.transaction(async |conn| {
                sql_query("INSERT INTO note VALUES (2)")
                    .execute(conn)
                    .await?;
                Err::<(), _>(diesel::result::Error::RollbackTransaction)
            });
            undone.await.unwrap_err();
            pid(tx).await
        });
        pid.await.unwrap()
    };
    let first = backend().await;
    assert_eq!(backend().await, first, "the connection is used again");
    assert_eq!(s.rows("SELECT n FROM note").await, ["1", "1"]);
}

async fn pid(conn: &mut AsyncPgConnection) -> Result<i32, TxError> {
    let pid = diesel::select(diesel::dsl::sql::<diesel::sql_types::Integer>(
        "pg_backend_pid()",
    ));
    Ok(pid.get_result(conn).await?)
}

// Diesel's transaction manager is reachable from the closure too, and keeps count of what it ends.
#[tokio::test]
async fn a_commit_by_diesels_own_manager_is_noticed() {
    type Manager = AnsiTransactionManager;
    let s = with_table().await;
    let ended = s.session.transact(async |tx| {
        let conn: &mut AsyncPgConnection = tx;
        <Manager as TransactionManager<AsyncPgConnection>>::commit_transaction(conn).await?;
        Ok(())
    });
    assert_eq!(ended_by(&ended.await.unwrap_err()), "COMMIT");
    let ended = s.session.transact(async |tx| {
        let conn: &mut AsyncPgConnection = tx;
        <Manager as TransactionManager<AsyncPgConnection>>::rollback_transaction(conn).await?;
        <Manager as TransactionManager<AsyncPgConnection>>::begin_transaction(conn).await?;
        sql_query("INSERT INTO note VALUES (1)")
            .execute(conn)
            .await?;
        Ok(())
    });
    assert_eq!(ended_by(&ended.await.unwrap_err()), "ROLLBACK");
    assert_eq!(s.rows("SELECT n FROM note").await, [""; 0]);
}

#[tokio::test]
async fn a_retrieval_that_commits_claims_nothing() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let process = Process::SHEPHERD_AGENT_START;
    let claimed = s.session.work(&process, async |tx| {
        tx.batch_execute("COMMIT").await?;
        Ok(vec![machine])
    });
    match claimed.await {
        Err(WorkError::Transaction(error)) => assert_eq!(ended_by(&error), "COMMIT"),
        other => panic!("{other:?}"),
    }
    assert_eq!(s.claim_one().await.machine(), machine);
}

// A reader promises that it writes nothing; after a COMMIT its transaction is not read-only any more.
#[tokio::test]
async fn a_read_that_ends_its_transaction_fails() {
    let s = with_table().await;
    let reader = Reader::connect(Config::new(s.db.url())).await.unwrap();
    let read = reader.read(async |conn| {
        conn.batch_execute("ROLLBACK").await?;
        Ok(())
    });
    assert_eq!(ended_by(&read.await.unwrap_err()), "ROLLBACK");
    reader.read(async |_| Ok(())).await.unwrap();
}

// With one connection, an operation inside of a closure of the same component waits for the connection that
// the closure has.
#[tokio::test]
async fn an_operation_that_waits_for_its_own_closures_connection_says_so() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let config = Config::new(s.db.url()).component("one").pool_size(1);
    let mut config = config.janitor_interval(None);
    config.connect_timeout = Duration::from_millis(500);
    let bmdb = Bmdb::connect(config).await.unwrap();
    let session = &bmdb.start_session(SessionOptions::default()).await.unwrap();
    let nested = session.transact(async |_| session.transact(async |_| Ok(())).await);
    let error = nested.await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("inside of a transaction's closure"), "{text}");
    // Nothing is stuck.
    session.transact(async |_| Ok(())).await.unwrap();
}

// A panic unwinds through the transaction.
#[tokio::test]
async fn a_panic_in_a_closure_commits_nothing_and_leaves_no_transaction_open() {
    let s = with_table().await;
    let (bmdb, session) = with_one_connection(&s.db).await;
    let panicking = tokio::spawn(async move {
        let panicking = session.transact(async |tx| {
            tx.batch_execute("INSERT INTO note VALUES (1)").await?;
            if true {
                panic!("in a closure");
            }
            Ok(())
        });
        panicking.await
    });
    assert!(panicking.await.unwrap_err().is_panic());
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    session.transact(async |_| Ok(())).await.unwrap();
    assert_eq!(s.rows("SELECT n FROM note").await, [""; 0]);
}

// A closure gave a statement up after a moment and went on, as in a `select!` with a timeout.
#[tokio::test]
async fn a_statement_that_is_given_up_in_a_closure_is_still_seen() {
    let s = with_table().await;
    let ended = s.session.transact(async |tx| {
        let _given_up = tokio::time::timeout(Duration::ZERO, tx.batch_execute("COMMIT")).await;
        Ok(())
    });
    assert_eq!(ended_by(&ended.await.unwrap_err()), "COMMIT");
}

// Forgetting work runs no destructor: nothing ends it, and the program still owns it.
#[tokio::test]
async fn forgotten_work_is_freed_when_its_session_is_closed() {
    let s = Scenario::new().await;
    s.provided("a").await;
    std::mem::forget(s.claim_one().await);
    let Scenario { db, bmdb, session } = s;
    session.close().await.unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let s = Scenario { db, bmdb, session };
    s.claim_one().await.fail(&RETRY, "x").await.unwrap();
}
