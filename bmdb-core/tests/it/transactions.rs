//! Transactions: atomic, retried where that helps, and never left open.

use crate::scenario::Scenario;
use crate::wait::until;
use bmdb_core::{Claim, Tx, TxError, TxOptions};
use bmdb_model::{AgentStarted, ErrorKind, MachineId, Process, Provider, TagWrites};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::Barrier;

async fn run(tx: &mut Tx<'_>, sql: &str) -> Result<usize, TxError> {
    Ok(diesel_async::RunQueryDsl::execute(diesel::sql_query(sql), &mut **tx).await?)
}

#[tokio::test]
async fn a_closure_that_ignores_a_statement_error_does_not_commit() {
    let s = Scenario::new().await;
    for is_planned in [false, true] {
        let result = s
            .session
            .transact(async |tx| {
                if is_planned {
                    tx.create_machine().await?;
                }
                let _swallowed = run(tx, "SELECT 1 / 0").await;
                Ok(())
            })
            .await;
        let failure = result.unwrap_err().kind();
        assert_eq!(failure, Some(ErrorKind::Aborted), "planned: {is_planned}");
    }
    assert_eq!(s.rows("SELECT machine_id FROM machines").await, [""; 0]);
}

#[tokio::test]
async fn rows_of_a_foreign_table_are_committed_with_the_tags_or_not_at_all() {
    let s = Scenario::new().await;
    s.db.run_sql("CREATE TABLE racked (machine_id uuid REFERENCES machines)")
        .await
        .unwrap();
    let transaction = async |gives_up: bool| {
        s.session
            .transact(async |tx| {
                let machine = tx.create_machine().await?;
                // As in downstream code: Diesel accepts the transaction as a connection.
                diesel_async::RunQueryDsl::execute(
                    diesel::sql_query("INSERT INTO racked VALUES ($1)")
                        .bind::<diesel::sql_types::Uuid, _>(machine),
                    tx,
                )
                .await?;
                if gives_up {
                    return Err(TxError::abort(TooMany(1)));
                }
                Ok(())
            })
            .await
    };
    let rows = "SELECT count(*), count(r.machine_id) FROM machines m NATURAL LEFT JOIN racked r";
    transaction(true).await.unwrap_err();
    assert_eq!(s.rows(rows).await, ["0|0"]);
    transaction(false).await.unwrap();
    assert_eq!(s.rows(rows).await, ["1|1"]);
    let session = s.session.id();
    s.db.expire(session).await.unwrap();
    let error = transaction(false).await.unwrap_err();
    assert!(matches!(error, TxError::SessionExpired), "{error}");
    assert_eq!(s.rows(rows).await, ["1|1"]);
}

#[derive(Debug, PartialEq, thiserror::Error)]
#[error("{0} machines are too many")]
struct TooMany(u32);

#[tokio::test]
async fn a_closure_that_aborts_rolls_back_and_returns_its_reason() {
    let s = Scenario::new().await;
    let result: Result<(), TxError> = s
        .session
        .transact(async |tx| {
            tx.create_machine().await?;
            Err(TxError::abort(TooMany(7)))
        })
        .await;
    let error = result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the transaction was aborted by its closure: 7 machines are too many"
    );
    match error {
        TxError::Aborted(reason) => assert_eq!(reason.downcast_ref(), Some(&TooMany(7))),
        other => panic!("{other:?}"),
    }
    assert_eq!(s.rows("SELECT machine_id FROM machines").await, [""; 0]);
}

#[tokio::test]
async fn the_loser_of_two_serializable_increments_is_retried() {
    let s = Scenario::new().await;
    s.db.run_sql("CREATE TABLE counter AS SELECT 0 AS n")
        .await
        .unwrap();
    let (runs, both_have_read) = (AtomicU32::new(0), Barrier::new(2));
    let increment = async || {
        let is_first = &AtomicU32::new(1);
        let (runs, both_have_read) = (&runs, &both_have_read);
        let session = s.another_session().await;
        session
            .transact(async |tx| {
                runs.fetch_add(1, Ordering::Relaxed);
                run(tx, "SELECT n FROM counter").await?;
                if is_first.swap(0, Ordering::Relaxed) == 1 {
                    both_have_read.wait().await;
                }
                run(tx, "UPDATE counter SET n = n + 1").await
            })
            .await
            .unwrap();
    };
    tokio::join!(increment(), increment());
    assert_eq!(s.rows("SELECT n FROM counter").await, ["2"]);
    assert_eq!(runs.into_inner(), 3);
}

#[tokio::test]
async fn retries_end_at_their_limit() {
    let s = Scenario::new().await;
    let runs = AtomicU32::new(0);
    let options = TxOptions::default().retry_for(Duration::from_millis(500));
    let result = s
        .session
        .transact_with(options, async |tx| {
            runs.fetch_add(1, Ordering::Relaxed);
            run(tx, "DO $$ BEGIN RAISE SQLSTATE '40001'; END $$").await
        })
        .await;
    assert_eq!(result.unwrap_err().kind(), Some(ErrorKind::Serialization));
    assert!(runs.into_inner() > 1);
}

#[tokio::test]
async fn a_deadlock_is_retried_and_an_ordinary_error_is_not() {
    let s = Scenario::new().await;
    for (code, expected) in [("40P01", 2), ("23505", 1), ("P0001", 1)] {
        let runs = &AtomicU32::new(0);
        // A deadlock is recognized by its message, because its code is not accessible.
        let fail = format!(
            "DO $$ BEGIN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '{code}'; END $$"
        );
        let message = if code == "40P01" {
            "deadlock detected"
        } else {
            "not one"
        };
        let fail = fail.replace("deadlock detected", message);
        let _result = s
            .session
            .transact(async |tx| match runs.fetch_add(1, Ordering::Relaxed) {
                0 => run(tx, &fail).await,
                _ => Ok(0),
            })
            .await;
        assert_eq!(runs.load(Ordering::Relaxed), expected, "{code}");
    }
}

#[tokio::test]
async fn a_read_only_transaction_reads_and_refuses_to_write() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let options = TxOptions::read_only();
    let found = s.session.transact_with(options, async |tx| {
        Ok(bmdb_model::machine::find(tx, machine).await?.map(|m| m.id))
    });
    assert_eq!(found.await.unwrap(), Some(machine));
    let refused = s
        .session
        .transact_with(options, async |tx| tx.touch(machine).await)
        .await;
    assert_eq!(
        refused.unwrap_err().to_string(),
        "database: cannot execute UPDATE in a read-only transaction (SQLSTATE 25006)"
    );
    s.db.expire(s.session.id()).await.unwrap();
    let expired = s.session.transact_with(options, async |_| Ok(())).await;
    assert!(
        matches!(expired, Err(TxError::SessionExpired)),
        "{expired:?}"
    );
}

#[tokio::test]
async fn the_error_names_a_machine_that_does_not_exist() {
    let s = Scenario::new().await;
    let unknown = MachineId::random();
    let error = s
        .session
        .transact(async |tx| tx.hold(unknown, "disk").await)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("there is no machine {unknown}"));
}

#[tokio::test]
async fn a_dropped_future_leaves_no_transaction_and_no_lock() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let stuck = s.session.transact(async |tx| {
        tx.touch(machine).await?;
        std::future::pending::<Result<(), TxError>>().await
    });
    let locked = "EXISTS (SELECT FROM pg_locks WHERE relation = 'machines'::regclass
                          AND mode = 'RowExclusiveLock' AND granted)";
    tokio::select! {
        _ = stuck => unreachable!("it waits for ever"),
        () = until(&s.db, locked) => {}
    }
    until(&s.db, &format!("NOT {locked}")).await;
    let open = "SELECT state FROM pg_stat_activity
                WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    assert_eq!(s.rows(open).await, [""; 0]);
    s.session
        .transact(async |tx| tx.touch(machine).await)
        .await
        .unwrap();
    let versions = "SELECT machine_version FROM machines";
    assert_eq!(s.rows(versions).await, ["1"]);
}

#[tokio::test]
async fn raw_sql_writes_are_planned_after_touching_the_machine() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let started = format!("INSERT INTO machine_agent_started VALUES ('{machine}', now(), 'key')");
    s.session
        .transact(async |tx| {
            tx.touch(machine).await?;
            run(tx, &started).await
        })
        .await
        .unwrap();
    let eligible = "SELECT process FROM work_item WHERE eligible";
    assert_eq!(s.rows(eligible).await, ["ShepherdRecovery"]);
}

#[tokio::test]
async fn closures_have_the_servers_plan_settings_also_after_ends_on_their_connection() {
    let s = Scenario::new().await;
    for id in ["1", "2", "3"] {
        s.provided(id).await;
    }
    let settings =
        "concat_ws(' ', current_setting('plan_cache_mode'), current_setting('enable_seqscan'),
                              current_setting('jit'))";
    let default = s.rows(&format!("SELECT {settings}")).await.remove(0);
    // Fails if they differ.
    let check = &format!("SELECT 1 / ({settings} = '{default}')::integer");
    let (_proxy, _bmdb, session) = crate::scenario::counted(&s.db).await;
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START);
    let claim = claim.provider(&Provider::EQUINIX).limit(3);
    for work in session.claim(&claim).await.unwrap() {
        let machine = work.machine();
        let within = session.transact(async |tx| {
            run(tx, check).await?;
            tx.touch(machine).await?;
            run(tx, check).await.map(drop)
        });
        within.await.unwrap();
        let started = AgentStarted::now(b"key");
        match machine.as_uuid().as_u128() % 2 {
            0 => work
                .complete_with(TagWrites::new().agent_started(started))
                .await
                .unwrap(),
            _ => work
                .finish(async |tx| {
                    tx.set_agent_started(machine, &started).await?;
                    run(tx, check).await.map(drop)
                })
                .await
                .unwrap(),
        }
        let after = session.transact(async |tx| run(tx, check).await.map(drop));
        after.await.unwrap();
    }
}
