//! Values: what a loop may store, what it records by itself, and databases in another encoding than UTF-8.

use crate::control_loop::{Does, once};
use crate::scenario::{RETRY, Scenario};
use bmdb_backoff::{Backoff, Seconds};
use bmdb_core::control_loop::{Commit, Failure};
use bmdb_core::{Bmdb, Claim, Config, ConnectError, TxError};
use bmdb_model::column::Column;
use bmdb_model::migration::{MigrationError, run_pending};
use bmdb_model::{AgentStarted, Error, MachineId, Process, agent};
use bmdb_testkit::TestDb;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use std::time::Duration;

const START: Process = Process::SHEPHERD_AGENT_START;

fn starts_with_key(length: usize) -> Does {
    Does::new(move |_, _| {
        Box::pin(async move {
            // As keys are: nothing that PostgreSQL could compress.
            let words = (0..).map(|n| bmdb_backoff::mix(7, n).to_le_bytes());
            let block: Vec<u8> = words.flatten().take(length.min(1 << 16)).collect();
            let key: Vec<u8> = block.repeat(length.div_ceil(block.len()));
            Ok(Commit::agent_started(AgentStarted::now(key)))
        })
    })
}

/// An agent's key of 4 KiB was made on the machine, refused by an index, and made again, for ever.
#[tokio::test]
async fn a_key_of_4_kib_and_the_longest_one_are_stored_with_the_end() {
    let s = Scenario::new().await;
    for length in [4096, Column::PUBLIC_KEY.maximum_bytes] {
        let machine = s.provided(&length.to_string()).await;
        let summary = once(&s.bmdb, starts_with_key(length)).await.unwrap();
        assert_eq!((summary.claimed, summary.finished), (1, 1));
        let mut conn = s.db.connect().await.unwrap();
        let key = format!(
            "SELECT octet_length(agent_public_key) FROM machine_agent_started WHERE machine_id = '{machine}'"
        );
        assert_eq!(s.rows(&key).await, [length.to_string()]);
        assert!(
            !agent::authenticate(&mut conn, machine, b"key")
                .await
                .unwrap()
        );
    }
    assert_eq!(s.attempts().await, ["Finished||", "Finished||"]);
}

#[tokio::test]
async fn a_result_that_cannot_be_stored_fails_its_attempt_with_a_backoff_and_says_why() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let summary = once(&s.bmdb, starts_with_key(100 << 20)).await.unwrap();
    assert_eq!((summary.claimed, summary.failed), (1, 1));
    let cause = "what was achieved could not be committed: public_key has 104857600 bytes, and at most 65536 \
                 are stored: shorten it";
    assert_eq!(s.attempts().await, [format!("Failed|{cause}|1")]);
    let backoff = format!("SELECT until > now() FROM work_backoff WHERE machine_id = '{machine}'");
    assert_eq!(s.rows(&backoff).await, ["t"]);
}

/// A value that only the server refuses: raw SQL into an index that the caller has made.
#[tokio::test]
async fn a_row_that_does_not_fit_an_index_fails_its_attempt_with_a_backoff() {
    let s = Scenario::new().await;
    s.provided("a").await;
    s.db.run_sql("CREATE TABLE bmc (name text PRIMARY KEY)")
        .await
        .unwrap();
    let does = Does::new(|_, _| {
        Box::pin(async {
            Ok(Commit::tags(async move |tx| {
                use diesel_async::SimpleAsyncConnection;
                let long = "INSERT INTO bmc SELECT string_agg(md5(n::text), '') FROM generate_series(1, 300) n";
                Ok(tx.batch_execute(long).await?)
            }))
        })
    });
    let summary = once(&s.bmdb, does).await.unwrap();
    assert_eq!((summary.claimed, summary.failed), (1, 1));
    let attempts = s.attempts().await;
    assert!(
        attempts[0].contains("index row") && attempts[0].contains("SQLSTATE 54000"),
        "{attempts:?}"
    );
}

#[tokio::test]
async fn whatever_a_loop_says_is_recorded_in_its_failure_its_hold_and_its_pause() {
    let s = Scenario::new().await;
    // A lone surrogate, as a command may print it.
    let odd = format!("a\0b\u{ffff}→{}", String::from_utf8_lossy(b"\xed\xa0\x80"));
    let recorded = "a\\u{0}b\u{ffff}→\u{fffd}\u{fffd}\u{fffd}";
    type Fails = fn(String) -> Failure;
    let all: [Fails; 3] = [Failure::new, Failure::hold, Failure::hold_process];
    for fails in all {
        s.provided(&MachineId::random().to_string()).await;
        let odd = odd.clone();
        let does = Does::new(move |_, _| {
            // Longer than the test, or the next run would try this machine again.
            let hour = Backoff::fixed(Seconds::new(3600).unwrap());
            let failure = fails(odd.clone()).backoff(hour);
            Box::pin(async move { Err(failure) })
        });
        assert_eq!(once(&s.bmdb, does).await.unwrap().failed, 1);
    }
    assert_eq!(
        s.attempts().await,
        vec![format!("Failed|{recorded}|3600"); 3]
    );
    let reasons = "SELECT reason FROM machine_hold UNION ALL
                   SELECT hold_reason FROM work_item WHERE hold_reason IS NOT NULL";
    assert_eq!(s.rows(reasons).await, [recorded; 2]);

    s.provided("panics").await;
    let panics = Does::new(|_, _| Box::pin(async { panic!("{}\0", "x".repeat(1 << 20)) }));
    assert_eq!(once(&s.bmdb, panics).await.unwrap().failed, 1);
    let cut =
        "SELECT octet_length(cause), right(cause, 9) FROM work_attempt ORDER BY fence DESC LIMIT 1";
    assert_eq!(s.rows(cut).await, ["8192|x … [cut]"]);

    s.provided("429").await;
    let does = Does::new(move |_, _| {
        let failure = Failure::pause_provider(Duration::from_secs(60), odd.clone());
        Box::pin(async move { Err(failure) })
    });
    once(&s.bmdb, does).await.unwrap();
    let pauses = s.rows("SELECT reason FROM process_pause").await;
    assert_eq!(pauses, [recorded]);
}

/// A text that this database refuses stands for a copy in another encoding, or a trigger of somebody's.
const REFUSES: &str = "
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF new.cause ~ '→' THEN
            RAISE EXCEPTION 'character has no equivalent in encoding LATIN1' USING ERRCODE = '22P05';
        END IF;
        RETURN new;
    END $$;
    CREATE TRIGGER refuse BEFORE UPDATE ON work_item FOR EACH ROW EXECUTE FUNCTION refuse();
    CREATE TRIGGER refuse BEFORE INSERT ON work_attempt FOR EACH ROW EXECUTE FUNCTION refuse()";

/// A failure was not recorded because of one character in its cause, and the machine was worked on again at
/// once, for ever.
#[tokio::test]
async fn a_cause_that_the_database_refuses_is_recorded_in_ascii() {
    let s = Scenario::new().await;
    s.db.run_sql(REFUSES).await.unwrap();
    for name in ["a", "b", "c", "d", "e"] {
        s.provided(name).await;
    }
    let session = &s.session;
    let claim = Claim::of(&START).limit(5);
    let mut claimed = session.claim(&claim).await.unwrap().into_iter();
    let mut next = || claimed.next().unwrap();
    let cause = "no route a → b";
    next().fail(&RETRY, cause).await.unwrap();
    next().fail_and_hold(&RETRY, cause).await.unwrap();
    next().fail_and_hold_process(&RETRY, cause).await.unwrap();
    next()
        .pause_provider(Duration::from_secs(60), cause)
        .await
        .unwrap();
    let all = session.fail_all([(next(), &RETRY, cause)]).await;
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    let recorded = "no route a \\u{2192} b";
    let causes = s.rows("SELECT cause FROM work_attempt").await;
    assert_eq!(causes, [recorded; 5]);
}

#[tokio::test]
async fn what_cannot_be_a_label_of_a_session_is_refused_before_connecting() {
    let with = |name: &str, info: &str| {
        let config = Config::new("postgres://nowhere.invalid/db").component(name);
        config.runtime_info(info).check().unwrap_err().to_string()
    };
    let long = "x".repeat(5000);
    for (error, expected) in [
        (
            with(&long, ""),
            "configuration: component: component name has 5000 bytes, and at most 1024 are stored",
        ),
        (
            with("a\0", ""),
            "configuration: component: component name contains a NUL byte",
        ),
        (
            with("a", &long),
            "configuration: runtime_info: runtime info has 5000 bytes, and at most 4096 are stored",
        ),
    ] {
        assert!(error.starts_with(expected), "{error}");
    }
}

#[tokio::test]
async fn an_operator_learns_the_limit_and_nothing_is_written() {
    let s = Scenario::new().await;
    let machine = s.provided("a").await;
    let session = &s.session;
    let long = "x".repeat(8193);
    let refused = session
        .transact(async |tx| tx.hold(machine, &long).await)
        .await;
    let Err(TxError::Database(Error::TooLong {
        field,
        length,
        limit,
    })) = refused
    else {
        panic!("{refused:?}");
    };
    assert_eq!((field, length, limit), ("reason", 8193, 8192));
    assert_eq!(s.rows("SELECT count(*) FROM machine_hold").await, ["0"]);
}

/// Beside the database of a test, on the same server.
async fn with_encoding(db: &TestDb, encoding: &str) -> (String, String) {
    let name = format!("{}_{}", db.name(), encoding.to_lowercase());
    let create = format!(
        "CREATE DATABASE {name} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE 'C' LC_CTYPE 'C'"
    );
    db.run_sql(&create).await.unwrap();
    (db.admin_url().replace(db.name(), &name), name)
}

/// In LATIN1, a cause with an arrow was not recorded, and its machine was worked on again for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_in_another_encoding_is_refused_by_connections_and_migrations() {
    let db = TestDb::empty().await.unwrap();
    for encoding in ["LATIN1", "SQL_ASCII", "EUC_JP"] {
        let (url, name) = with_encoding(&db, encoding).await;
        let connected = Bmdb::connect(Config::new(&*url).janitor_interval(None)).await;
        let error = connected.err().unwrap();
        assert!(matches!(error, ConnectError::NotUtf8 { .. }), "{error:?}");
        let expected = format!(
            "the encoding of the database is {encoding}, which cannot store every text; bmdb needs UTF8: create \
             a database with CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8'"
        );
        assert!(error.to_string().contains(&expected), "{error}");
        // As programs do that have a connection of their own.
        let conn = AsyncPgConnection::establish(&url).await.unwrap();
        let error = run_pending(conn).await.unwrap_err();
        assert!(matches!(error, MigrationError::NotUtf8(_)), "{error:?}");
        db.run_sql(&format!("DROP DATABASE {name} WITH (FORCE)"))
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn connections_speak_utf_8_whatever_the_database_and_the_login_are_set_to() {
    let s = Scenario::new().await;
    let set = format!(
        "ALTER DATABASE {} SET client_encoding = 'LATIN1'; ALTER DATABASE {0} SET bytea_output = 'escape'",
        s.db.name()
    );
    s.db.run_sql(&set).await.unwrap();
    let bmdb = Bmdb::connect(Config::new(s.db.url()).janitor_interval(None))
        .await
        .unwrap();
    s.provided("a").await;
    let does = Does::new(|_, _| Box::pin(async { Err(Failure::new("a → b")) }));
    assert_eq!(once(&bmdb, does).await.unwrap().failed, 1);
    let hex = "SELECT convert_to(cause, 'UTF8') = '\\x6120e286922062' FROM work_attempt";
    assert_eq!(s.rows(hex).await, ["t"]);
}
