//! Migrating while components work on the fleet, and while other sessions block the migration.

use crate::scenario::{RETRY, Scenario};
use bmdb_core::{Bmdb, Claim, Config, MigrateOptions, SessionError, SessionOptions, TxError};
use bmdb_model::Process;
use bmdb_model::migration::{MigrationError, known, newest_known};
use bmdb_testkit::TestDb;
use diesel_async::{AsyncPgConnection, SimpleAsyncConnection};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const START: Process = Process::SHEPHERD_AGENT_START;

/// A version from a later release.
const FUTURE: &str = "20991231000000";

/// How long the migrations of these tests wait for a lock.
const LOCK_TIMEOUT: Duration = Duration::from_millis(200);

/// The version before the one that alters work_item.
const BEFORE_PERIODS: &str = "20261122000300";

/// A session named `report` that has locked a table.
async fn report(db: &TestDb, locking: &str) -> AsyncPgConnection {
    let mut conn = db.connect().await.unwrap();
    let sql = format!("SET application_name = 'report'; BEGIN; {locking}");
    conn.batch_execute(&sql).await.unwrap();
    conn
}

/// A component that may see the activity of other sessions.
async fn admin(db: &TestDb) -> Bmdb {
    let config = Config::new(db.admin_url()).janitor_interval(None);
    Bmdb::connect(config).await.unwrap()
}

fn briefly() -> MigrateOptions {
    MigrateOptions::default()
        .lock_timeout(LOCK_TIMEOUT)
        .give_up_after(Duration::from_secs(1))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn components_continue_while_a_migration_waits_for_a_long_reader_and_it_completes_afterwards()
{
    let db = TestDb::at_version(BEFORE_PERIODS).await.unwrap();
    let mut reader = report(&db, "SELECT count(*) FROM work_item").await;
    let bmdb = admin(&db).await;
    let options = briefly().give_up_after(Duration::from_secs(120));
    let (migrated, polls) = (AtomicBool::new(false), AtomicBool::new(false));

    let migrating = async {
        let applied = bmdb.migrate_with(options).await;
        migrated.store(true, Ordering::Relaxed);
        applied.unwrap()
    };
    let fleet = async {
        let mut conn = db.connect().await.unwrap();
        let mut longest = Duration::ZERO;
        let started = Instant::now();
        let mut answered = 0;
        while started.elapsed() < 10 * LOCK_TIMEOUT {
            let sent = Instant::now();
            let poll = "SELECT 1 FROM work_item WHERE eligible FOR UPDATE SKIP LOCKED";
            conn.batch_execute(poll).await.unwrap();
            longest = longest.max(sent.elapsed());
            answered += 1;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(
            !migrated.load(Ordering::Relaxed),
            "the reader is still there"
        );
        polls.store(true, Ordering::Relaxed);
        reader.batch_execute("COMMIT").await.unwrap();
        (longest, answered)
    };
    let (applied, (longest, answered)) = tokio::join!(migrating, fleet);
    assert_eq!(applied.last(), Some(&newest_known()));
    assert!(answered > 10, "{answered}");
    // Some operations wait as long as the migration waits for its lock, and none as long as the reader, which
    // takes ten times as long.
    assert!(
        longest >= LOCK_TIMEOUT / 4,
        "no operation had to wait: {longest:?}"
    );
    assert!(longest < 8 * LOCK_TIMEOUT, "{longest:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_never_gets_its_lock_gives_up_and_names_the_holder_and_what_was_applied() {
    let db = TestDb::at_version("20261122000200").await.unwrap();
    let reader = report(&db, "SELECT count(*) FROM work_item").await;
    let bmdb = admin(&db).await;
    let error = bmdb.migrate_with(briefly()).await.unwrap_err();
    let said = error.to_string();
    let MigrationError::Locked {
        migration,
        done,
        holders,
    } = error
    else {
        panic!("{said}");
    };
    assert_eq!(migration, "2026-11-22-000400_exponential_backoff");
    assert_eq!(done, [BEFORE_PERIODS]);
    let named: Vec<_> = holders.iter().map(|holder| &*holder.application).collect();
    assert_eq!(named, ["report"]);
    for part in ["(\"report\", in a transaction for", "pg_terminate_backend"] {
        assert!(said.contains(part), "{said}");
    }
    drop(reader);
    assert_eq!(bmdb.migrate().await.unwrap().len(), known().len() - 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_for_a_hung_migrator_ends_at_the_limit_and_names_it() {
    let db = TestDb::at_version(BEFORE_PERIODS).await.unwrap();
    let hung = report(&db, "COMMIT; SELECT pg_advisory_lock(1651336290)").await;
    let bmdb = admin(&db).await;
    let error = bmdb.migrate_with(briefly()).await.unwrap_err();
    let said = error.to_string();
    assert!(
        matches!(&error, MigrationError::Busy { holder, .. } if holder.application == "report"),
        "{said}"
    );
    assert!(
        said.contains("another migrator has been at work for"),
        "{said}"
    );
    drop(hung);
    assert!(!bmdb.migrate().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn machines_written_during_a_migration_are_planned_by_its_workflows() {
    let db = TestDb::at_version("20261122000200").await.unwrap();
    db.run_sql("INSERT INTO machines (machine_id) VALUES (gen_random_uuid())")
        .await
        .unwrap();
    // It has read the definitions before the migration, and plans none.
    let writing = "UPDATE machines SET machine_version = machine_version + 1;
        INSERT INTO machine_provided (machine_id, provider, provider_id)
        SELECT machine_id, 'Equinix', 'a' FROM machines";
    let mut writer = report(&db, writing).await;
    let bmdb = admin(&db).await;
    let migrating = bmdb.migrate();
    tokio::pin!(migrating);
    let waiting = tokio::time::timeout(Duration::from_secs(1), &mut migrating).await;
    assert!(waiting.is_err(), "{waiting:?}");
    writer.batch_execute("COMMIT").await.unwrap();
    migrating.await.unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    assert_eq!(session.claim(&Claim::of(&START)).await.unwrap().len(), 1);
}

/// Marks the schema as incompatible with this release, as a later migration would: see CONTRIBUTING.md.
async fn move_past_this_release(db: &TestDb) {
    let raise = format!(
        "BEGIN;
         INSERT INTO __diesel_schema_migrations (version) VALUES ('{FUTURE}');
         UPDATE schema_compatibility SET oldest_compatible = '{FUTURE}';
         UPDATE sessions SET session_deadline = clock_timestamp();
         COMMIT"
    );
    db.run_sql(&raise).await.unwrap();
}

#[tokio::test]
async fn a_running_component_that_became_too_old_writes_nothing_and_starts_no_session() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let work = s.claim_one().await;
    move_past_this_release(&s.db).await;

    let written = s.session.transact(async |tx| tx.hold(machine, "why").await);
    let refused = written.await.unwrap_err();
    assert!(matches!(refused, TxError::SessionExpired), "{refused}");
    work.fail(&RETRY, "no answer").await.unwrap_err();
    let refused = s.bmdb.start_session(SessionOptions::default()).await;
    let refused = refused.unwrap_err();
    assert!(
        matches!(
            refused,
            SessionError::Migration(MigrationError::ComponentTooOld { .. })
        ),
        "{refused}"
    );
    assert!(refused.to_string().contains("upgrade this component"));
    let error = s.bmdb.migrate().await.unwrap_err();
    assert!(
        matches!(error, MigrationError::ComponentTooOld { .. }),
        "{error}"
    );
    let config = Config::new(s.db.url()).component("another");
    Bmdb::connect(config).await.unwrap_err();
}

#[tokio::test]
async fn a_component_of_the_previous_release_works_on_a_newer_database_and_migrates_nothing() {
    let s = Scenario::new().await;
    s.provided("a").await;
    let newer = format!(
        "INSERT INTO __diesel_schema_migrations (version) VALUES ('{FUTURE}');
         ALTER TABLE work_item ADD COLUMN of_the_future text"
    );
    s.db.run_sql(&newer).await.unwrap();
    s.claim_one().await.fail(&RETRY, "no answer").await.unwrap();
    s.another_session().await;
    assert_eq!(s.bmdb.migrate().await.unwrap(), [""; 0]);
    // It does not revert its own migrations below unknown ones.
    let conn = s.db.connect().await.unwrap();
    let error = bmdb_model::migration::revert_last(conn, 1)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{} cannot be reverted: {FUTURE} was applied on top of it, which this release does not \
             know: revert that first, with the release or the program that has it",
            newest_known()
        )
    );
}
