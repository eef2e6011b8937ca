//! Errors by SQLSTATE: what each means for transactions, in any language of the server.

use crate::language::in_both_languages;
use crate::scenario::Scenario;
use crate::wait::{A_TRANSACTION_WAITS_FOR_A_ROW, until};
use bmdb_core::{Bmdb, Claim, Config, SessionOptions, Tx, TxError, TxOptions};
use bmdb_model::{ErrorKind, MachineId, Process};
use diesel_async::SimpleAsyncConnection;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::sync::Notify;

in_both_languages!(
    each_error_of_a_server_has_its_kind_and_shows_its_code,
    an_error_that_a_function_raises_has_the_kind_of_its_code,
    a_deadlock_is_run_again,
    a_lost_race_is_run_again,
    a_terminated_connection_is_lost,
    statements_that_a_pooler_has_lost_are_prepared_again,
    a_connection_that_turned_read_only_is_not_used_again,
    a_statement_outside_of_transactions_runs_at_read_committed,
);

async fn run(tx: &mut Tx<'_>, sql: &str) -> Result<(), TxError> {
    Ok(tx.batch_execute(sql).await?)
}

async fn kind_of(s: &Scenario, sql: &str) -> (ErrorKind, String) {
    let failed = s.session.transact(async |tx| run(tx, sql).await).await;
    let error = failed.unwrap_err();
    (error.kind().unwrap(), error.to_string())
}

async fn each_error_of_a_server_has_its_kind_and_shows_its_code(s: Scenario) {
    for (sql, kind, code) in [
        ("SELECT 1/0", ErrorKind::InvalidValue, "22012"),
        ("SELECT 'x'::int", ErrorKind::InvalidValue, "22P02"),
        ("SELECT chr(0)", ErrorKind::InvalidValue, "54000"),
        ("SELECT * FROM missing", ErrorKind::SchemaMismatch, "42P01"),
        ("SELECT missing()", ErrorKind::SchemaMismatch, "42883"),
        ("SET ROLE missing", ErrorKind::InvalidValue, "22023"),
        (
            "SET LOCAL statement_timeout = 5; SELECT pg_sleep(60)",
            ErrorKind::StatementTimeout,
            "57014",
        ),
    ] {
        let (found, text) = kind_of(&s, sql).await;
        assert_eq!(found, kind, "{text}");
        assert!(text.ends_with(&format!("(SQLSTATE {code})")), "{text}");
    }
}

async fn an_error_that_a_function_raises_has_the_kind_of_its_code(s: Scenario) {
    for (code, kind) in [
        ("53100", ErrorKind::OutOfResources),
        ("58030", ErrorKind::OutOfResources),
        ("42501", ErrorKind::Denied),
        ("55006", ErrorKind::NotReady),
        ("XX000", ErrorKind::Internal),
        ("P0001", ErrorKind::Other),
    ] {
        let raise = format!("DO $$ BEGIN RAISE 'no {code}' USING ERRCODE = '{code}'; END $$");
        let (found, text) = kind_of(&s, &raise).await;
        assert_eq!(found, kind, "{text}");
    }
}

async fn a_deadlock_is_run_again(s: Scenario) {
    let (one, other) = (s.provided("1").await, s.provided("2").await);
    let lock = |machine: MachineId| {
        format!("UPDATE machines SET machine_version = 5 WHERE machine_id = '{machine}'")
    };
    let tries = AtomicU32::new(0);
    let has_locked_one = Notify::new();
    let mut in_the_way = s.db.connect().await.unwrap();
    // The transaction that waits for longer than its own timeout looks for the deadlock, and is its victim.
    let begin = format!(
        "BEGIN; SET LOCAL deadlock_timeout = '10min'; {}",
        lock(other)
    );
    in_the_way.batch_execute(&begin).await.unwrap();
    let options = TxOptions::read_committed();
    let victim = s.session.transact_with(options, async |tx| {
        run(tx, &lock(one)).await?;
        if tries.fetch_add(1, Ordering::Relaxed) == 0 {
            has_locked_one.notify_one();
            until(&s.db, A_TRANSACTION_WAITS_FOR_A_ROW).await;
        }
        run(tx, &lock(other)).await
    });
    let winner = async {
        has_locked_one.notified().await;
        in_the_way.batch_execute(&lock(one)).await.unwrap();
        in_the_way.batch_execute("COMMIT").await.unwrap();
    };
    let (ran_again, ()) = tokio::join!(victim, winner);
    ran_again.unwrap();
    assert!(tries.load(Ordering::Relaxed) > 1, "it was the victim");
}

async fn a_lost_race_is_run_again(s: Scenario) {
    let machine = s.provided("1").await;
    let tries = AtomicU32::new(0);
    s.session
        .transact(async |tx| {
            run(tx, "SELECT machine_version FROM machines").await?;
            if tries.fetch_add(1, Ordering::Relaxed) == 0 {
                let faster = "UPDATE machines SET machine_version = 7";
                s.db.run_sql(faster).await.unwrap();
            }
            tx.touch(machine).await
        })
        .await
        .unwrap();
    assert_eq!(tries.load(Ordering::Relaxed), 2);
}

async fn a_terminated_connection_is_lost(s: Scenario) {
    let (kind, text) = kind_of(&s, "SELECT pg_terminate_backend(pg_backend_pid())").await;
    assert_eq!(kind, ErrorKind::ConnectionLost, "{text}");
}

/// A pooler that moves a connection to another server process loses its prepared statements. The claims of
/// such a connection failed until it was closed.
async fn statements_that_a_pooler_has_lost_are_prepared_again(s: Scenario) {
    let machine = s.provided("1").await;
    let bmdb = with_one_connection(&s).await;
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START);
    let claimed = session.claim(&claim).await.unwrap();
    session.cancel_all(claimed).await;
    session
        .transact(async |tx| run(tx, "DEALLOCATE ALL").await)
        .await
        .unwrap();
    let again = session.claim(&claim).await.unwrap();
    assert_eq!(again[0].machine(), machine);
}

/// The server was read-only for a moment. Connections made then stay read-only for ever, and a pool that
/// keeps them fails again and again after the server takes writes.
async fn a_connection_that_turned_read_only_is_not_used_again(s: Scenario) {
    let bmdb = with_one_connection(&s).await;
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let make_read_only = "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY";
    session
        .transact(async |tx| run(tx, make_read_only).await)
        .await
        .unwrap();
    session
        .transact(async |tx| tx.create_machine().await)
        .await
        .unwrap();
}

async fn with_one_connection(s: &Scenario) -> Bmdb {
    let config = Config::new(s.db.url()).janitor_interval(None).pool_size(1);
    Bmdb::connect(config).await.unwrap()
}

/// The statements of claims and ends lock rows and judge their newest versions, which SERIALIZABLE turns into
/// errors. Their isolation was the server's default.
async fn a_statement_outside_of_transactions_runs_at_read_committed(s: Scenario) {
    let name = s.db.name();
    let record = format!(
        "ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'serializable';
         CREATE TABLE levels (level text); GRANT ALL ON levels TO PUBLIC;
         CREATE FUNCTION record() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO levels VALUES (current_setting('transaction_isolation'));
             RETURN NEW; END $$;
         CREATE TRIGGER record BEFORE INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION record()"
    );
    s.db.run_sql(&record).await.unwrap();
    for url in [
        s.db.url().to_owned(),
        format!(
            "{}&options=-c%20default_transaction_isolation%3Dserializable",
            s.db.url()
        ),
    ] {
        let config = Config::new(url).janitor_interval(None);
        let bmdb = Bmdb::connect(config).await.unwrap();
        bmdb.start_session(SessionOptions::default()).await.unwrap();
    }
    let levels = s.rows("SELECT level FROM levels").await;
    assert_eq!(levels, ["read committed", "read committed"]);
}

#[tokio::test]
async fn what_may_pass_is_known_to_callers() {
    let s = Scenario::new().await;
    let raise = "DO $$ BEGIN RAISE 'full' USING ERRCODE = 'disk_full'; END $$";
    let full = s.session.transact(async |tx| run(tx, raise).await).await;
    assert!(full.unwrap_err().may_pass());
    let wrong = s.session.transact(async |tx| run(tx, "SELECT 1/0").await);
    assert!(!wrong.await.unwrap_err().may_pass());
    assert!(TxError::Unavailable("no server".into()).may_pass());
    assert!(!TxError::abort("a reason of the caller").may_pass());
}
