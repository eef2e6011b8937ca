//! Errors in a loop: what may pass is waited for, what concerns one machine stays with it, and what no
//! waiting mends ends the loop.

use super::{Does, Running, options};
use crate::language::in_both_languages;
use crate::scenario::Scenario;
use crate::wait::until;
use bmdb_core::control_loop::{Commit, LoopError, Runner, Shutdown};
use bmdb_core::{Bmdb, Config};
use bmdb_model::{AgentStarted, ErrorKind};
use bmdb_testkit::Role;
use diesel_async::SimpleAsyncConnection;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

in_both_languages!(
    a_canceled_claim_is_asked_again,
    a_lock_timeout_does_not_end_a_loop,
    a_server_that_is_read_only_for_some_time_is_waited_for,
    a_success_is_recorded_once_what_is_in_the_way_has_passed,
    claims_go_on_once_what_is_in_the_way_has_passed,
    a_login_without_rights_ends_a_loop,
    a_table_that_is_gone_ends_a_loop,
    a_machine_that_cannot_be_read_backs_off_and_stops_no_other,
);

/// Finishes each machine, and counts.
fn succeeds(commands: &Arc<AtomicU32>) -> Does {
    let commands = commands.clone();
    Does::new(move |_, _| {
        commands.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { Ok(Commit::agent_started(AgentStarted::now(b"key"))) })
    })
}

/// A component whose own retries end at once, so that the loop's are tested.
async fn impatient(s: &Scenario) -> Bmdb {
    let mut config = Config::new(s.db.url()).janitor_interval(None);
    config.retry_for = Duration::from_millis(10);
    config.lock_timeout = Duration::from_millis(50);
    Bmdb::connect(config).await.unwrap()
}

const FINISHED: &str = "(SELECT count(*) FROM work_attempt WHERE outcome = 'Finished') = 1";

/// An operator canceled the statement that a migration had blocked for minutes. It was the claim of a loop,
/// which ended.
async fn a_canceled_claim_is_asked_again(s: Scenario) {
    s.provided("1").await;
    let mut other = s.db.connect().await.unwrap();
    let lock = "BEGIN; LOCK TABLE work_item IN ACCESS EXCLUSIVE MODE";
    other.batch_execute(lock).await.unwrap();
    let commands = Arc::default();
    let running = Running::new(&s.bmdb, succeeds(&commands), options());
    let blocked = "wait_event_type = 'Lock' AND datname = current_database()";
    until(
        &s.db,
        &format!("EXISTS (SELECT FROM pg_stat_activity WHERE {blocked})"),
    )
    .await;
    let cancel = format!("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {blocked}");
    assert_eq!(s.rows(&cancel).await, ["t"]);
    until(
        &s.db,
        &format!("EXISTS (SELECT FROM pg_stat_activity WHERE {blocked})"),
    )
    .await;
    other.batch_execute("ROLLBACK").await.unwrap();
    running.logs("Finished { rest: None }", 1).await;
    running.stop().await;
}

async fn a_lock_timeout_does_not_end_a_loop(s: Scenario) {
    s.provided("1").await;
    let bmdb = impatient(&s).await;
    let mut other = s.db.connect().await.unwrap();
    let lock = "BEGIN; LOCK TABLE work_item IN ACCESS EXCLUSIVE MODE";
    other.batch_execute(lock).await.unwrap();
    let running = Running::new(&bmdb, succeeds(&Arc::default()), options());
    tokio::time::sleep(Duration::from_millis(400)).await;
    other.batch_execute("ROLLBACK").await.unwrap();
    running.logs("Finished { rest: None }", 1).await;
    running.stop().await;
}

/// The database was made read-only for some seconds, and the connections that were made meanwhile stayed so.
async fn a_server_that_is_read_only_for_some_time_is_waited_for(s: Scenario) {
    s.provided("1").await;
    let name = s.db.name();
    let set =
        |value| format!("ALTER DATABASE \"{name}\" SET default_transaction_read_only = {value}");
    s.db.run_sql(&set("on")).await.unwrap();
    let bmdb = impatient(&s).await;
    let running = Running::new(&bmdb, succeeds(&Arc::default()), options());
    running.logs("waiting", 2).await;
    let mut operator = s.db.connect().await.unwrap();
    for sql in ["SET default_transaction_read_only = off", &set("off")] {
        operator.batch_execute(sql).await.unwrap();
    }
    running.logs("Finished { rest: None }", 1).await;
    running.stop().await;
}

/// Refuses the ends of attempts, or the claims, with the code in the table `mood`.
const MOODY: &str = "
    CREATE TABLE mood (code text, refuses text);
    GRANT SELECT ON mood TO PUBLIC;
    CREATE FUNCTION moody() RETURNS trigger LANGUAGE plpgsql AS $$
        DECLARE refused text;
        BEGIN
            SELECT code INTO refused FROM mood
            WHERE refuses = CASE WHEN NEW.session_id IS NULL THEN 'ends' ELSE 'claims' END;
            IF refused IS NOT NULL AND NEW.session_id IS DISTINCT FROM OLD.session_id THEN
                RAISE 'a mood' USING ERRCODE = refused;
            END IF;
            RETURN NEW;
        END $$;
    CREATE TRIGGER moody BEFORE UPDATE ON work_item FOR EACH ROW EXECUTE FUNCTION moody()";

/// What may pass, and what an administrator may just be repairing.
const PASSING: [&str; 10] = [
    "53100", "53200", "53300", "58030", "55006", "25006", "57014", "XX000", "0A000", "40001",
];

/// The disk was full for eight seconds just when a command had succeeded: the success was thrown away, and
/// the command run again.
async fn a_success_is_recorded_once_what_is_in_the_way_has_passed(s: Scenario) {
    s.db.run_sql(MOODY).await.unwrap();
    for code in PASSING.iter().chain(&["42501", "42P01"]) {
        let machine = s.provided(code).await;
        let bmdb = impatient(&s).await;
        let refuse = format!("INSERT INTO mood VALUES ('{code}', 'ends')");
        s.db.run_sql(&refuse).await.unwrap();
        let commands = Arc::default();
        let running = Running::new(&bmdb, succeeds(&commands), options());
        running.started(1).await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        s.db.run_sql("DELETE FROM mood").await.unwrap();
        running.logs("Finished { rest: None }", 1).await;
        assert_eq!(running.stop().await.finished, 1, "{code}");
        assert_eq!(commands.load(Ordering::Relaxed), 1, "{code}");
        let ended = format!("SELECT outcome FROM work_attempt WHERE machine_id = '{machine}'");
        assert_eq!(s.rows(&ended).await, ["Finished"], "{code}");
    }
}

async fn claims_go_on_once_what_is_in_the_way_has_passed(s: Scenario) {
    s.db.run_sql(MOODY).await.unwrap();
    for code in PASSING.iter().chain(&["22003"]) {
        s.provided(code).await;
        let bmdb = impatient(&s).await;
        let refuse = format!("INSERT INTO mood VALUES ('{code}', 'claims')");
        s.db.run_sql(&refuse).await.unwrap();
        let running = Running::new(&bmdb, succeeds(&Arc::default()), options());
        tokio::time::sleep(Duration::from_millis(200)).await;
        s.db.run_sql("DELETE FROM mood").await.unwrap();
        running.logs("Finished { rest: None }", 1).await;
        running.stop().await;
    }
}

async fn kind_that_ends(bmdb: &Bmdb) -> ErrorKind {
    let runner = Runner::new(bmdb, succeeds(&Arc::default())).options(options());
    let ran = tokio::time::timeout(Duration::from_secs(10), runner.run(Shutdown::new()));
    match ran.await.expect("the loop waits") {
        Err(LoopError::Claim(error)) => error.kind().unwrap(),
        Err(LoopError::Session(bmdb_core::SessionError::Transaction(error))) => {
            error.kind().unwrap()
        }
        ended => panic!("{ended:?}"),
    }
}

async fn a_login_without_rights_ends_a_loop(s: Scenario) {
    let url = s.db.url_as(Role::Viewer).await.unwrap();
    let bmdb = Bmdb::connect(Config::new(url).janitor_interval(None)).await;
    assert_eq!(kind_that_ends(&bmdb.unwrap()).await, ErrorKind::Denied);
}

/// A newer schema has another name for a column that this release reads.
async fn a_table_that_is_gone_ends_a_loop(s: Scenario) {
    s.provided("1").await;
    let rename = "ALTER TABLE work_item RENAME COLUMN ready_at TO due_at";
    s.db.run_sql(rename).await.unwrap();
    assert_eq!(kind_that_ends(&s.bmdb).await, ErrorKind::SchemaMismatch);
}

/// A program of a later release had written a state that this one does not know. Every machine that was
/// claimed with it was given back, and the loop ended.
async fn a_machine_that_cannot_be_read_backs_off_and_stops_no_other(s: Scenario) {
    let (one, other) = (s.provided("1").await, s.provided("2").await);
    let spoil = format!(
        "ALTER TABLE machine_provided DROP CONSTRAINT machine_provided_provider_status_check;
         UPDATE machine_provided SET provider_status = 'Melted' WHERE machine_id = '{one}'"
    );
    s.db.run_sql(&spoil).await.unwrap();
    let options = options().batch(2).parallelism(2);
    let running = Running::new(&s.bmdb, succeeds(&Arc::default()), options);
    running.logs("Finished { rest: None }", 1).await;
    until(&s.db, FINISHED).await;
    running.stop().await;
    let attempts = "SELECT machine_id, outcome, cause ~ 'the machine cannot be read: .+'
                    FROM work_attempt ORDER BY outcome";
    let expected = [format!("{one}|Failed|t"), format!("{other}|Finished|")];
    assert_eq!(s.rows(attempts).await, expected);
}
