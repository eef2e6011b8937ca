//! Migrators that are killed, with or without their server, and concurrent migrators.

use crate::migrations::contents;
use crate::schema_snapshots::versions;
use bmdb_model::migration::{revert_last, run_pending, run_up_to};
use bmdb_testkit::{Lookup, Places, Profile, Server, Template, TestDb};
use futures_util::future::join_all;
use std::env;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio_postgres::{Client, NoTls};

/// The URL of the database that a child process has to migrate.
const MIGRATES: &str = "BMDB_MODEL_TEST_MIGRATES";

/// Stops the connection that sends the n-th statement that changes the schema; n is in `trap.at`.
const TRAP: &str = "
    CREATE SCHEMA trap;
    CREATE SEQUENCE trap.passed;
    CREATE TABLE trap.at (statement bigint);
    INSERT INTO trap.at VALUES (0);
    CREATE FUNCTION trap.pass() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
        IF nextval('trap.passed') = (SELECT statement FROM trap.at) THEN
            PERFORM pg_sleep(600);
        END IF;
    END $$;
    CREATE FUNCTION trap.by_statement() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM trap.pass();
    END $$;
    CREATE FUNCTION trap.by_commit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM trap.pass();
        RETURN NULL;
    END $$;
    CREATE EVENT TRIGGER spring ON ddl_command_start EXECUTE FUNCTION trap.by_statement()";

/// Also stops the connection that commits the record of a migration.
const AT_COMMIT: &str = "
    CREATE CONSTRAINT TRIGGER \"trap.commit\" AFTER INSERT ON __diesel_schema_migrations
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trap.by_commit()";

/// A database with a trap, and a connection that watches it.
struct Trapped {
    db: TestDb,
    watch: Client,
}

impl Trapped {
    async fn on(db: TestDb) -> Self {
        db.run_sql(TRAP).await.unwrap();
        let watch = watch(&db).await;
        let this = Self { db, watch };
        // Makes Diesel's table.
        let conn = this.db.connect().await.unwrap();
        assert_eq!(revert_last(conn, 0).await.unwrap(), [""; 0]);
        this.watch.batch_execute(AT_COMMIT).await.unwrap();
        this
    }

    /// Makes the n-th statement stop its connection; 0 disables the trap.
    async fn set(&self, statement: usize) {
        // The trap does not stop the connection that sets it.
        let set = format!(
            "SET session_replication_role = replica;
             UPDATE trap.at SET statement = {statement};
             ALTER SEQUENCE trap.passed RESTART"
        );
        self.watch.batch_execute(&set).await.unwrap();
    }

    async fn migrate(&self, version: &str) -> Result<Vec<String>, String> {
        let conn = self.db.connect().await.unwrap();
        run_up_to(conn, version).await.map_err(|e| e.to_string())
    }

    /// The server process of a migrator that was stopped.
    async fn stopped(&self) -> i32 {
        let asleep = "SELECT pid FROM pg_stat_activity
                      WHERE datname = current_database() AND wait_event = 'PgSleep'";
        loop {
            if let Some(row) = self.watch.query_opt(asleep, &[]).await.unwrap() {
                return row.get(0);
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn contents(&self) -> Vec<String> {
        let mut contents = contents(&self.db).await;
        contents.retain(|row| !row.contains("trap."));
        contents
    }
}

async fn watch(db: &TestDb) -> Client {
    let (client, connection) = tokio_postgres::connect(db.admin_url(), NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

/// What a straight run up to this version makes.
async fn straight(version: &str) -> Vec<String> {
    contents(&TestDb::at_version(version).await.unwrap()).await
}

/// Shows only what differs.
#[track_caller]
fn same(actual: &[String], expected: &[String], when: &str) {
    let only_in = |these: &[String], others: &[String]| -> Vec<String> {
        let only = these.iter().filter(|row| !others.contains(row));
        only.cloned().collect()
    };
    let both = (only_in(actual, expected), only_in(expected, actual));
    assert_eq!(both, (vec![], vec![]), "{when}");
}

async fn migrator(db: &TestDb) -> Child {
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "interrupted::a_migrator_of_its_own",
            "--nocapture",
        ])
        .env(MIGRATES, db.admin_url())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command.spawn().unwrap()
}

/// What the processes of the other tests run.
#[tokio::test]
#[allow(clippy::print_stdout, reason = "how a child process talks to its test")]
async fn a_migrator_of_its_own() {
    use diesel_async::{AsyncConnection, AsyncPgConnection};
    let Ok(url) = env::var(MIGRATES) else { return };
    let conn = AsyncPgConnection::establish(&url).await.unwrap();
    for version in run_pending(conn).await.unwrap() {
        println!("\napplied={version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migrator_cut_off_at_any_statement_leaves_nothing_and_the_next_one_completes() {
    let trapped = Trapped::on(TestDb::empty().await.unwrap()).await;
    let mut cut = 0;
    for version in versions() {
        let before = trapped.contents().await;
        for statement in 1.. {
            trapped.set(statement).await;
            let migrating = trapped.migrate(&version);
            tokio::pin!(migrating);
            let stopped = tokio::select! {
                done = &mut migrating => Err(done),
                pid = trapped.stopped() => Ok(pid),
            };
            match stopped {
                Err(done) => {
                    assert_eq!(done.unwrap(), [version.as_str()]);
                    break;
                }
                Ok(pid) => {
                    let end = "SELECT pg_terminate_backend($1)";
                    trapped.watch.execute(end, &[&pid]).await.unwrap();
                    migrating.await.unwrap_err();
                    cut += 1;
                }
            }
            // What any of the earlier ones had left would still be there.
            if statement % 8 == 0 {
                same(&trapped.contents().await, &before, &version);
            }
        }
        same(
            &trapped.contents().await,
            &straight(&version).await,
            &version,
        );
    }
    assert!(
        cut > 3 * versions().len(),
        "it was cut off {cut} times only"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_migrator_completes_what_a_killed_one_began() {
    let trapped = Trapped::on(TestDb::empty().await.unwrap()).await;
    for version in versions() {
        let before = trapped.contents().await;
        // One statement is Diesel's, and each migration has at least one.
        trapped.set(2).await;
        let mut killed = migrator(&trapped.db).await;
        trapped.stopped().await;
        killed.kill().await.unwrap();
        same(&trapped.contents().await, &before, &version);
        trapped.set(0).await;
        // Its turn ends once the server has noticed.
        assert_eq!(trapped.migrate(&version).await.unwrap(), [version.as_str()]);
    }
    let newest = versions().pop().unwrap();
    same(&trapped.contents().await, &straight(&newest).await, &newest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_within_a_migration_comes_back_without_that_migration() {
    let places = Places {
        database_url: None,
        ..Places::from_env()
    };
    let boot = move || {
        let installation = Lookup::search(&places).installation().unwrap();
        Arc::new(Server::boot(&installation, Profile::Durable).unwrap())
    };
    let server = tokio::task::spawn_blocking(boot).await.unwrap();
    // One database for each version, in the middle of which all of them are when the server dies.
    let before = [String::from("0")].into_iter().chain(versions());
    let trapped = before.zip(versions()).map(async |(before, _)| {
        let db = Template::empty().database_on(&server).await.unwrap();
        let trapped = Trapped::on(db).await;
        trapped.migrate(&before).await.unwrap();
        trapped.set(2).await;
        trapped
    });
    let mut trapped = join_all(trapped).await;
    let migrating = trapped.iter().zip(versions());
    let migrating = migrating.map(async |(trapped, version)| trapped.migrate(&version).await);
    let killing = async {
        join_all(trapped.iter().map(Trapped::stopped)).await;
        let server = server.clone();
        let kill = move || server.kill9().and_then(|()| server.restart());
        tokio::task::spawn_blocking(kill).await.unwrap().unwrap();
    };
    let (killed, ()) = tokio::join!(join_all(migrating), killing);
    assert!(killed.iter().all(Result::is_err), "{killed:?}");

    for (trapped, version) in trapped.iter_mut().zip(versions()) {
        trapped.watch = watch(&trapped.db).await;
        trapped.set(0).await;
        assert_eq!(trapped.migrate(&version).await.unwrap(), [version.as_str()]);
        same(
            &trapped.contents().await,
            &straight(&version).await,
            &version,
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_migrating_processes_all_succeed_and_apply_each_migration_once() {
    let db = TestDb::empty().await.unwrap();
    let mut running = Vec::new();
    for _ in 0..3 {
        running.push(migrator(&db).await);
    }
    let mut applied = Vec::new();
    for process in running {
        let output = process.wait_with_output().await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{said}");
        let versions = said
            .lines()
            .filter_map(|line| line.strip_prefix("applied="));
        applied.extend(versions.map(str::to_owned));
    }
    applied.sort();
    assert_eq!(applied, versions());
    assert_eq!(
        contents(&db).await,
        straight(versions().last().unwrap()).await
    );
}
