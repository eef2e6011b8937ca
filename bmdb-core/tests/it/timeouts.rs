//! Timeouts that the server enforces on each connection, and their effects.

use crate::scenario::{Scenario, work_on};
use crate::wait;
use bmdb_core::{Bmdb, Claim, Config, SessionOptions, TxError};
use bmdb_model::{ErrorKind, Process};
use bmdb_testkit::TestDb;
use diesel::sql_types::Text;
use diesel_async::AsyncPgConnection;
use std::time::Duration;

/// Triggers that record the timeouts of each connection that writes.
const NOTE: &str = "
    CREATE TABLE noted (what text, statement text, lock text, idle text, pid int);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO noted VALUES (TG_ARGV[0], current_setting('statement_timeout'),
            current_setting('lock_timeout'), current_setting('idle_in_transaction_session_timeout'),
            pg_backend_pid());
        RETURN NULL;
    END $$;
    CREATE TRIGGER note_start AFTER INSERT ON sessions EXECUTE FUNCTION note('start');
    CREATE TRIGGER note_beat AFTER UPDATE ON sessions EXECUTE FUNCTION note('beat');
    CREATE TRIGGER note_claim AFTER INSERT OR UPDATE ON work_item
        EXECUTE FUNCTION note('work');";

async fn noted(db: &TestDb, what: &str) -> Vec<String> {
    let sql = format!("SELECT DISTINCT statement, lock, idle FROM noted WHERE what = '{what}'");
    db.rows(&sql).await.unwrap()
}

/// A session that sends heartbeats, claims, and drops work, with `options` in the URL.
async fn live(db: &TestDb, options: &str) -> Bmdb {
    db.run_sql(NOTE).await.unwrap();
    let separator = if db.url().contains('?') { '&' } else { '?' };
    let url = format!("{}{separator}options={options}", db.url());
    let bmdb = Bmdb::connect(Config::new(url).janitor_interval(None))
        .await
        .unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let machine = session
        .transact(async |tx| tx.create_machine().await)
        .await
        .unwrap();
    drop(
        work_on(&session, &Process::SHEPHERD_ACCESS, machine)
            .await
            .unwrap(),
    );
    // The pool claims and the cleanup cancels, each on its own connection.
    let both = "(SELECT count(DISTINCT pid) = 2 FROM noted WHERE what = 'work')";
    wait::until(db, both).await;
    wait::until(db, "EXISTS (SELECT FROM noted WHERE what = 'beat')").await;
    bmdb
}

#[tokio::test]
async fn each_kind_of_connection_has_its_own_timeouts() {
    let db = TestDb::new().await.unwrap();
    live(&db, "").await;
    assert_eq!(noted(&db, "start").await, ["1min|30s|1min"]);
    let mut work = noted(&db, "work").await;
    work.sort();
    // A cleanup task that waits for a lock delays the others.
    assert_eq!(work, ["1min|1s|1min", "1min|30s|1min"]);
    assert_eq!(noted(&db, "beat").await, ["5s|2500ms|5s"]);
}

#[tokio::test]
async fn timeouts_of_the_url_override_the_defaults() {
    let db = TestDb::new().await.unwrap();
    let options = "-c%20lock_timeout%3D1234%20-c%20statement_timeout%3D9s";
    live(&db, options).await;
    for what in ["start", "work"] {
        assert_eq!(noted(&db, what).await, ["9s|1234ms|1min"], "{what}");
    }
    assert_eq!(noted(&db, "beat").await, ["9s|1234ms|5s"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_ignore_the_timeouts_of_the_url() {
    let db = TestDb::empty().await.unwrap();
    db.run_sql(
        "CREATE TABLE noted (statement text, lock text, idle text);
         CREATE FUNCTION note() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO public.noted VALUES (current_setting('statement_timeout'),
                 current_setting('lock_timeout'),
                 current_setting('idle_in_transaction_session_timeout'));
         END $$;
         CREATE EVENT TRIGGER note ON ddl_command_end EXECUTE FUNCTION note();",
    )
    .await
    .unwrap();
    let url = db.admin_url();
    let separator = if url.contains('?') { '&' } else { '?' };
    let url = format!("{url}{separator}options=-c%20statement_timeout%3D9s");
    let config = Config::new(url).janitor_interval(None);
    let bmdb = Bmdb::connect(config.clone()).await.unwrap();
    bmdb.migrate().await.unwrap();
    // Its statements may take any time, but must not wait long for locks or block others without progress.
    let seen = "SELECT DISTINCT statement, lock, idle FROM noted WHERE lock <> '1min'";
    assert_eq!(db.rows(seen).await.unwrap(), ["0|2s|10s"]);
    let mut own = config.connect().await.unwrap();
    assert_eq!(setting(&mut own, "statement_timeout").await, "0");
}

#[derive(diesel::QueryableByName)]
struct Setting {
    #[diesel(sql_type = Text)]
    setting: String,
}

async fn setting(conn: &mut AsyncPgConnection, name: &str) -> String {
    let sql = format!("SELECT current_setting('{name}') AS setting");
    let query = diesel::sql_query(sql);
    let setting = diesel_async::RunQueryDsl::get_result::<Setting>(query, conn).await;
    setting.unwrap().setting
}

async fn run(conn: &mut AsyncPgConnection, sql: &str) -> Result<usize, TxError> {
    Ok(diesel_async::RunQueryDsl::execute(diesel::sql_query(sql), conn).await?)
}

async fn with_short_timeouts(db: &TestDb) -> Bmdb {
    let mut config = Config::new(db.url()).janitor_interval(None);
    config.lock_timeout = Duration::from_millis(50);
    Bmdb::connect(config).await.unwrap()
}

#[tokio::test]
async fn a_lock_timeout_is_a_distinct_failure_and_nothing_is_lost() {
    let scenario = Scenario::new().await;
    let machine = scenario.provided("1").await;
    let bmdb = with_short_timeouts(&scenario.db).await;
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START);

    let mut other = scenario.db.connect().await.unwrap();
    for sql in ["BEGIN", "LOCK TABLE work_item IN ACCESS EXCLUSIVE MODE"] {
        run(&mut other, sql).await.unwrap();
    }
    let error = session.claim(&claim).await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::LockTimeout), "{error}");
    let create = session.transact(async |tx| {
        let new = tx.create_machine().await?;
        tx.delete_machine(machine).await?;
        Ok(new)
    });
    let error = create.await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::LockTimeout), "{error}");
    // A poller continues to poll.
    let mut poller = session.poller(&claim);
    let waiting = tokio::time::timeout(Duration::from_millis(300), poller.next(1)).await;
    assert!(
        waiting.is_err(),
        "{:?}",
        waiting.map(|polled| polled.map(drop))
    );

    run(&mut other, "ROLLBACK").await.unwrap();
    let claimed = poller.next(1).await.unwrap();
    assert_eq!(claimed[0].machine(), machine);
    let machines = scenario.rows("SELECT machine_id FROM machines").await;
    assert_eq!(
        machines,
        [machine.to_string()],
        "failed transactions leave nothing"
    );
}

#[tokio::test]
async fn a_statement_timeout_is_a_distinct_failure() {
    let db = TestDb::new().await.unwrap();
    let mut config = Config::new(db.url()).janitor_interval(None);
    config.statement_timeout = Duration::from_millis(100);
    let bmdb = Bmdb::connect(config).await.unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    let slow = session.transact(async |tx| {
        tx.create_machine().await?;
        run(tx, "SELECT pg_sleep(60)").await
    });
    let error = slow.await.unwrap_err();
    assert_eq!(error.kind(), Some(ErrorKind::StatementTimeout), "{error}");
    assert_eq!(
        db.rows("SELECT count(*) FROM machines").await.unwrap(),
        ["0"]
    );
    session
        .transact(async |tx| tx.create_machine().await)
        .await
        .unwrap();
}
