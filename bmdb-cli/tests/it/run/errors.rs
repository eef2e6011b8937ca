//! Errors of the server while `bmdb run` works: it waits, or exits with the code that says what to do.

use super::Fixture;
use crate::bmdb::{at, until};
use bmdb_testkit::{Role, TestDb};
use nix::sys::signal::Signal;
use std::process::Stdio;
use std::time::Duration;

/// A loop's fixture on a server that speaks German, so that no text of a message is understood.
async fn in_german() -> Fixture {
    let s = Fixture::new().await;
    speak_german(&s.db).await;
    s
}

/// Few systems know German. What is tested holds in English too.
#[allow(clippy::print_stderr, reason = "what is left out must be seen")]
async fn speak_german(db: &TestDb) {
    if let Err(error) = db.speak_german().await {
        eprintln!("\n==== NOT TESTED in German: {error} ====\n");
    }
}

/// The login had not been granted a role yet. On a German server the program exited with 1 and no advice.
#[tokio::test]
async fn a_login_without_rights_ends_with_7_in_any_language() {
    let s = in_german().await;
    let viewer = s.db.url_as(Role::Viewer).await.unwrap();
    let ran = s
        .bmdb("true")
        .env("BMDB_DATABASE_URL", &viewer)
        .fails_with(7, "(SQLSTATE 42501)");
    assert!(ran.stderr.contains("grant the login a role"), "{ran:?}");
    for command in [&["machine", "create"][..], &["janitor"]] {
        let ran = at(&viewer).args(command).fails_with(7, "(SQLSTATE 42501)");
        assert!(ran.stderr.contains("grant the login a role"), "{ran:?}");
    }
}

/// The schema was changed under the loop, by a release that this one does not know.
#[tokio::test]
async fn a_schema_that_does_not_fit_ends_with_6() {
    let s = in_german().await;
    s.db.run_sql("ALTER TABLE work_item RENAME COLUMN ready_at TO due_at")
        .await
        .unwrap();
    s.bmdb("true").fails_with(6, "(SQLSTATE 42703)");
}

/// Locks a table until [`UNLOCK`] is run.
const LOCK: &str = "BEGIN; LOCK TABLE work_item, machines IN ACCESS EXCLUSIVE MODE;
    SELECT pg_sleep(60)";
const IS_LOCKED: &str = "SELECT FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'PgSleep'";
const UNLOCK: &str = "SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event = 'PgSleep'";

#[tokio::test]
async fn a_lock_that_is_not_got_ends_a_verb_with_4_in_any_language() {
    let s = in_german().await;
    let url = format!("{}&options=-c%20lock_timeout%3D50ms", s.db.url());
    let create = async {
        until(&s.db, IS_LOCKED).await;
        let create = at(&url).args(["machine", "create"]);
        create.fails_with(4, "(SQLSTATE 55P03)");
        s.db.rows(UNLOCK).await.unwrap();
    };
    let (terminated, ()) = tokio::join!(s.db.run_sql(LOCK), create);
    terminated.unwrap_err();
}

/// The operator canceled what blocked a migration: the claim of the loop, which ended with 1.
#[tokio::test]
async fn a_canceled_claim_does_not_end_the_program() {
    let s = in_german().await;
    let blocked = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() \
                   AND wait_event_type = 'Lock' AND query LIKE '%work_item%'";
    let cancel = async {
        until(&s.db, IS_LOCKED).await;
        let running = s.start("echo done > $FOLDER/done", &[]);
        until(&s.db, blocked).await;
        let cancel = format!("SELECT pg_cancel_backend(pid) FROM ({blocked}) AS blocked");
        s.db.rows(&cancel).await.unwrap();
        until(&s.db, blocked).await;
        s.db.rows(UNLOCK).await.unwrap();
        running
    };
    let (terminated, running) = tokio::join!(s.db.run_sql(LOCK), cancel);
    terminated.unwrap_err();
    assert_eq!(s.written("done"), "done");
    running.signal(Signal::SIGTERM);
    assert_eq!(running.ended().code, Some(0));
}

/// A service was started while the server had no connection free, and exited.
#[tokio::test]
async fn a_server_without_a_free_connection_is_waited_for() {
    let s = in_german().await;
    let component = s.db.url_as(Role::Component).await.unwrap();
    let limit = |connections: i32| {
        let name = s.db.name();
        format!("ALTER DATABASE \"{name}\" CONNECTION LIMIT {connections}")
    };
    s.db.run_sql(&limit(0)).await.unwrap();
    let mut command = s
        .bmdb("echo done > $FOLDER/done")
        .env("BMDB_DATABASE_URL", &component)
        .command();
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let running = super::Running(Some(command.spawn().unwrap()));
    tokio::time::sleep(Duration::from_millis(500)).await;
    s.db.run_sql(&limit(-1)).await.unwrap();
    assert_eq!(s.written("done"), "done");
    running.signal(Signal::SIGTERM);
    let ran = running.ended();
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("(SQLSTATE 53300)"), "{ran:?}");
}

/// The disk was full for a moment just when the command had succeeded: the success was thrown away, and the
/// command ran again.
#[tokio::test]
async fn a_full_disk_does_not_make_a_command_run_again() {
    let s = in_german().await;
    s.db.run_sql(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF NEW.session_id IS NULL AND OLD.session_id IS NOT NULL THEN
                 RAISE 'no space left on device' USING ERRCODE = 'disk_full';
             END IF;
             RETURN NEW; END $$;
         CREATE TRIGGER full_disk BEFORE UPDATE ON work_item
             FOR EACH ROW EXECUTE FUNCTION full_disk()",
    )
    .await
    .unwrap();
    let running = s.start(
        "echo once >> $FOLDER/runs; echo key",
        &["--set-agent-started-from-stdout"],
    );
    s.written("runs");
    tokio::time::sleep(Duration::from_secs(2)).await;
    s.db.run_sql("DROP TRIGGER full_disk ON work_item")
        .await
        .unwrap();
    until(&s.db, "SELECT FROM work_attempt").await;
    running.signal(Signal::SIGTERM);
    running.ended();
    assert_eq!(s.written("runs"), "once");
}

/// A verb meets a server that takes no writes: the script that calls it is to try again later.
#[tokio::test]
async fn a_read_only_server_ends_a_verb_with_5() {
    let db = TestDb::new().await.unwrap();
    speak_german(&db).await;
    let url = format!(
        "{}&options=-c%20default_transaction_read_only%3Don",
        db.url()
    );
    at(&url)
        .args(["machine", "create"])
        .fails_with(5, "(SQLSTATE 25006)");
}
