//! URLs of several servers: which one is chosen, and the error if none is usable.

use crate::dedicated_server;
use crate::wait::until;
use bmdb_core::{Bmdb, Config, ConnectError, SessionOptions, SessionState};
use bmdb_testkit::{Profile, Replication, Server, TestDb};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio_postgres::NoTls;

fn folder(server: &Server) -> String {
    server.folder().unwrap().display().to_string()
}

/// How many connections of this component a server has.
async fn connections(server: &Server, component: &str) -> i64 {
    let (client, connection) = tokio_postgres::connect(server.url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1";
    client.query_one(sql, &[&component]).await.unwrap().get(0)
}

async fn connect(url: &str) -> Result<Bmdb, ConnectError> {
    let mut config = Config::new(url).component("one of several");
    config.connect_timeout = Duration::from_secs(20);
    Bmdb::connect(config.janitor_interval(None)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_server_is_found_in_any_order() {
    let primary = dedicated_server::server(Profile::Durable).await;
    let db = TestDb::on(&primary).await.unwrap();
    let standby = primary.standby(Replication::Synchronous).unwrap();
    let hosts = [folder(&primary), folder(&standby)];
    let (of_primary, of_standby) = (&*primary, &standby);
    for (kind, found) in [
        ("read-write", of_primary),
        ("primary", of_primary),
        ("read-only", of_standby),
        ("standby", of_standby),
        ("prefer-standby", of_standby),
    ] {
        for order in [[0, 1], [1, 0]] {
            let [first, second] = order.map(|i| hosts[i].as_str());
            let url = format!(
                "host=/nowhere,{first},{second} user=postgres dbname={} \
                 target_session_attrs={kind}",
                db.name()
            );
            let bmdb = connect(&url).await.unwrap();
            assert!(connections(found, "one of several").await > 0, "{kind}");
            drop(bmdb);
        }
    }
    let [primary_only, standby_only] = hosts.each_ref().map(|host| {
        format!(
            "host={host} user=postgres dbname={} target_session_attrs=",
            db.name()
        )
    });
    connect(&format!("{primary_only}prefer-standby"))
        .await
        .unwrap();
    for (url, reason) in [
        (format!("{primary_only}standby"), "is not a standby"),
        (format!("{primary_only}read-only"), "is not a read-only one"),
        (format!("{standby_only}primary"), "is not a primary"),
        (
            format!("{standby_only}read-write"),
            "is not one that accepts writes",
        ),
    ] {
        let error = connect(&url).await.unwrap_err();
        assert!(matches!(error, ConnectError::OtherRole { .. }), "{error:?}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[tokio::test]
async fn the_error_names_every_tried_server_with_its_reason() {
    let db = TestDb::new().await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let url = format!(
        "host=/nowhere,127.0.0.1 port=5432,{port} user=u password=secret dbname={}",
        db.name()
    );
    let error = connect(&url).await.unwrap_err();
    let text = error.to_string();
    assert!(
        matches!(&error, ConnectError::NoServer(reasons) if reasons.len() == 2),
        "{error:?}"
    );
    assert!(
        text.starts_with("none of 2 database servers is usable: "),
        "{text}"
    );
    assert!(text.contains("/nowhere/.s.PGSQL.5432: "), "{text}");
    assert!(text.contains(&format!(
        "; cannot reach the database server at 127.0.0.1:{port}: "
    )));
    assert!(!text.contains("secret"), "{text}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_leaves_time_for_the_next() {
    let db = TestDb::new().await.unwrap();
    // Accepts connections, as the kernel does by itself, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = silent.local_addr().map(|address| (address.port(), silent));
    let (port, _silent) = silent.unwrap();
    let Some(url) = behind(port, &db) else {
        return;
    };
    let mut config = Config::new(url).janitor_interval(None);
    config.connect_timeout = Duration::from_secs(6);
    let bmdb = Bmdb::connect(config).await.unwrap();
    // The pool also finds the server behind the silent one.
    bmdb.start_session(Default::default()).await.unwrap();
}

/// A URL that names a port of this machine first and then the server of the test's database; `None` for an
/// external server.
fn behind(port: u16, db: &TestDb) -> Option<String> {
    let config: tokio_postgres::Config = db.url().parse().unwrap();
    let tokio_postgres::config::Host::Unix(folder) = &config.get_hosts()[0] else {
        return None;
    };
    Some(format!(
        "host=127.0.0.1,{} port={port},{} user={} dbname={}",
        folder.display(),
        config.get_ports().first().copied().unwrap_or(5432),
        config.get_user().unwrap(),
        db.name()
    ))
}

/// Post-mortem: when reconnecting, the heartbeat waited for a silent first server for half of
/// `connect_timeout`, which is longer than the lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_first_server_does_not_cost_the_lease() {
    let db = TestDb::new().await.unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let Some(url) = behind(port, &db) else {
        return;
    };
    let bmdb = connect(&url).await.unwrap();
    let options = SessionOptions::default().interval(Duration::from_secs(4));
    let session = bmdb.start_session(options).await.unwrap();

    let _silent = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let killed = db.rows(
        "SELECT clock_timestamp(), pg_terminate_backend(pid, 1000) FROM pg_stat_activity
         WHERE datname = current_database() AND application_name = 'one of several'",
    );
    let killed = killed.await.unwrap().remove(0);
    let (at, _) = killed.split_once('|').unwrap();
    until(
        &db,
        &format!(
            "EXISTS (SELECT FROM sessions
                     WHERE session_deadline > '{at}'::timestamptz + interval '4 seconds')"
        ),
    )
    .await;
    assert_ne!(session.state(), SessionState::Lost);
}
