//! Connecting to servers that are unreachable, refuse, or are not a usable PostgreSQL.

use bmdb_core::{Bmdb, Config, ConnectError};
use bmdb_model::migration::MigrationError;
use bmdb_testkit::TestDb;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

async fn refusal(url: &str) -> ConnectError {
    let mut config = Config::new(url).janitor_interval(None);
    config.connect_timeout = Duration::from_millis(300);
    match Bmdb::connect(config).await {
        Ok(_) => panic!("connected to {url}"),
        Err(error) => error,
    }
}

/// A server that answers the first message of every client with `answer`, and its address.
async fn stub(answer: &'static [u8], then: Then) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(serve(client, answer, then));
        }
    });
    address
}

#[derive(Clone, Copy)]
enum Then {
    HangsUp,
    Stays,
}

async fn serve(mut client: TcpStream, answer: &[u8], then: Then) {
    let mut startup = [0; 1024];
    let _read = client.read(&mut startup).await;
    let _written = client.write_all(answer).await;
    if let Then::Stays = then {
        std::future::pending::<()>().await;
    }
}

/// Messages: authenticated, server version, cancel key, ready.
const POSTGRES_13: &[u8] = b"R\0\0\0\x08\0\0\0\0\
    S\0\0\0\x19server_version\x0013.11\0\
    K\0\0\0\x0c\0\0\0\x01\0\0\0\x01\
    Z\0\0\0\x05I";

#[tokio::test]
async fn an_invalid_url_is_reported_as_such() {
    for url in [
        "",
        "nonsense",
        "mysql://host/db",
        "postgres://host:port/db",
        "host=a colour=red",
    ] {
        let error = refusal(url).await;
        assert!(
            matches!(error, ConnectError::InvalidUrl(_)),
            "{url}: {error:?}"
        );
        let text = error.to_string();
        assert!(text.starts_with("not a usable database URL: "), "{text}");
        let hint = "; expected postgres://user@host:port/database or key=value pairs";
        assert!(text.ends_with(hint), "{text}");
    }
    assert_eq!(
        refusal("postgres:///db").await.to_string(),
        "not a usable database URL: it names no host; expected postgres://user@host:port/database \
         or key=value pairs"
    );
}

#[tokio::test]
async fn a_port_without_a_listener_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let error = refusal(&format!("postgres://u:secret@{address}/db")).await;
    assert!(
        matches!(error, ConnectError::Unreachable { .. }),
        "{error:?}"
    );
    let text = error.to_string();
    let start = format!("cannot reach the database server at {address}: Connection refused");
    assert!(text.starts_with(&start), "{text}");
    assert!(text.ends_with("; is it running and reachable?"), "{text}");
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_refusal_quotes_the_servers_message_and_code() {
    let db = TestDb::new().await.unwrap();
    let closed = format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", db.name());
    let elsewhere = TestDb::new().await.unwrap();
    elsewhere.run_sql(&closed).await.unwrap();
    let not_accepting = format!(
        "database \"{}\" is not currently accepting connections",
        db.name()
    );
    let nobody = format!("{} user=nobody-here", keyword_form(&elsewhere));
    for (url, message, code) in [
        (
            db.url().replace(db.name(), "nowhere"),
            "database \"nowhere\" does not exist",
            "3D000",
        ),
        (nobody, "role \"nobody-here\" does not exist", "28000"),
        (db.url().to_owned(), &not_accepting, "55000"),
    ] {
        let error = refusal(&url).await;
        assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
        let text = error.to_string();
        let end = format!(" refuses the connection: {message} (SQLSTATE {code})");
        assert!(
            text.starts_with("the database server at ") && text.ends_with(&end),
            "{text}"
        );
    }
}

/// The database's host, port and name as `key=value` pairs, without a user.
fn keyword_form(db: &TestDb) -> String {
    use tokio_postgres::config::Host;
    let config: tokio_postgres::Config = db.url().parse().unwrap();
    let host = match &config.get_hosts()[0] {
        Host::Tcp(host) => host.clone(),
        Host::Unix(path) => path.display().to_string(),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("host={host} port={port} dbname={}", db.name())
}

#[tokio::test]
async fn a_server_of_another_protocol_is_not_postgresql() {
    for answer in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\x00\x01\x02\x03\x04",
        b"Z\0\0\0\x05I",
    ] {
        let address = stub(answer, Then::HangsUp).await;
        let error = refusal(&format!("postgres://u@{address}/db?sslmode=disable")).await;
        assert!(
            matches!(error, ConnectError::NotPostgres { .. }),
            "{answer:?}: {error:?}"
        );
        let text = error.to_string();
        let start = format!("the server at {address} is not a PostgreSQL server: ");
        assert!(text.starts_with(&start), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_closes_the_connection_without_an_answer_is_unreachable() {
    let address = stub(b"", Then::HangsUp).await;
    for mode in ["disable", "prefer"] {
        let error = refusal(&format!("postgres://u@{address}/db?sslmode={mode}")).await;
        assert_eq!(
            error.to_string(),
            format!(
                "cannot reach the database server at {address}: connection closed; is it running \
                 and reachable?"
            )
        );
    }
}

#[tokio::test]
async fn an_old_server_is_refused_with_the_required_version() {
    let address = stub(POSTGRES_13, Then::Stays).await;
    let error = refusal(&format!("postgres://u@{address}/db?sslmode=disable")).await;
    assert_eq!(
        error.to_string(),
        format!(
            "the database server at {address} is version 13.11; bmdb needs PostgreSQL 14 or newer"
        )
    );
}

#[tokio::test]
async fn a_silent_server_times_out() {
    let address = stub(b"", Then::Stays).await;
    let error = refusal(&format!("postgres://u@{address}/db?sslmode=disable")).await;
    assert_eq!(
        error.to_string(),
        format!("no answer from the database server at {address} within 0.3 s")
    );
}

#[tokio::test]
async fn a_database_that_is_too_new_is_refused_at_once() {
    let db = TestDb::new().await.unwrap();
    let mark = "UPDATE schema_compatibility SET oldest_compatible = '20991231000000'";
    db.run_sql(mark).await.unwrap();
    let error = refusal(db.url()).await;
    assert!(
        matches!(
            error,
            ConnectError::Migration(MigrationError::ComponentTooOld { .. })
        ),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_newer_database_that_is_still_compatible_works() {
    let db = TestDb::new().await.unwrap();
    db.run_sql(
        "INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000000');
         ALTER TABLE work_item ADD COLUMN of_the_future text NULL;
         ALTER TABLE work_attempt ADD COLUMN of_the_future text NULL",
    )
    .await
    .unwrap();
    let bmdb = crate::scenario::connect(&db).await;
    let session = bmdb.start_session(Default::default()).await.unwrap();
    session
        .transact(async |tx| tx.create_machine().await)
        .await
        .unwrap();
    session.close().await.unwrap();
}

#[tokio::test]
async fn key_value_pairs_are_accepted() {
    let db = TestDb::new().await.unwrap();
    let user = db.rows("SELECT current_user").await.unwrap().remove(0);
    let config = Config::new(format!("{} user={user}", keyword_form(&db))).janitor_interval(None);
    Bmdb::connect(config).await.unwrap();
}
