//! No output contains a password or key: logs, errors, `Debug`, the server's view of its clients, and the
//! system's view of processes.

use crate::tls::{Authority, Folder, Tls};
use bmdb_core::{Bmdb, Claim, Config, DatabaseUrl, SessionOptions};
use bmdb_model::{Process, Provided, Provider};
use bmdb_testkit::Tcp;
use std::error::Error;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tracing_subscriber::fmt::MakeWriter;

const PASSWORD: &str = "S3cret/@:marker";

/// The same in URL encoding, with hexadecimal digits in both cases, and parts of it.
const FORMS: [&str; 5] = [
    PASSWORD,
    "S3cret%2F%40%3Amarker",
    "S3cret%2f%40%3amarker",
    "S3cret",
    "marker",
];

/// Everything that was printed.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    fn add(&self, text: impl std::fmt::Display) {
        let mut said = self.clone();
        writeln!(said, "{text}").unwrap();
    }

    /// An error with its sources, in every format.
    fn add_error(&self, error: &(dyn Error + 'static)) {
        self.add(format!("{error} {error:?} {error:#?}"));
        let mut reason = error.source();
        while let Some(error) = reason {
            self.add(format!("{error} {error:?}"));
            reason = error.source();
        }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Said {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

async fn fails(said: &Said, url: &str) {
    let mut config = Config::new(url).janitor_interval(None);
    config.connect_timeout = Duration::from_millis(500);
    said.add(format!("{config:?} {config:#?}"));
    match Bmdb::connect(config).await {
        Ok(_) => panic!("it was to fail"),
        Err(error) => said.add_error(&error),
    }
}

/// In a separate process, so that no other test logs, and all threads are recorded.
#[tokio::test(flavor = "multi_thread")]
async fn no_output_contains_a_password_or_a_key() {
    let said = Said::default();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let folder = Folder::new();
    let root = folder.file("root.crt", &ours.certificate);
    let wrong = folder.file("wrong.crt", &theirs.certificate);
    let client = ours.client("clerk");
    let identity = folder.identity("clerk", &client);
    let strange = folder.identity("strange", &theirs.client("clerk"));
    let server = ours.server(&["localhost"]);
    let tcp = Tcp::new()
        .tls(&server.certificate, &server.key)
        .client_authorities(&ours.certificate)
        .rules(["hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca"]);
    let Some(tls) = Tls::boot(tcp).await else {
        return;
    };
    let role = format!("CREATE ROLE clerk LOGIN SUPERUSER PASSWORD '{PASSWORD}'");
    tls.db.run_sql(&role).await.unwrap();
    // From here on: the statement above has to contain it.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_ansi(false)
        .with_writer(said.clone())
        .init();

    // Successful operations, with a lost connection among them.
    let full = format!("sslmode=verify-full sslrootcert={root} {identity}");
    let right = tls.url(&format!("user=clerk password={PASSWORD} {full}"));
    let config = Config::new(&right).component("clerk");
    said.add(format!("{config:?} {config:#?}"));
    let read: DatabaseUrl = right.parse().unwrap();
    said.add(format!("{read} {read:?} {read:#?}"));
    let bmdb = Bmdb::connect(config).await.unwrap();
    let session = bmdb.start_session(SessionOptions::default()).await.unwrap();
    said.add(format!("{bmdb:?} {bmdb:#?} {session:?} {session:#?}"));
    let provided = Provided::new(Provider::EQUINIX, "1");
    session
        .transact(async |tx| {
            let machine = tx.create_machine().await?;
            tx.set_provided(machine, &provided).await
        })
        .await
        .unwrap();
    let claim = Claim::of(&Process::SHEPHERD_AGENT_START);
    let claimed = session.claim(&claim).await.unwrap();
    assert_eq!(claimed.len(), 1);
    said.add(format!("{claimed:?} {:?}", session.poller(&claim)));
    let shown =
        "SELECT a::text FROM pg_stat_activity a UNION ALL SELECT s::text FROM pg_stat_ssl s";
    for row in tls.db.rows(shown).await.unwrap() {
        said.add(row);
    }
    let end_all = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
                   WHERE usename = 'clerk'";
    tls.db.run_sql(end_all).await.unwrap();
    if let Err(error) = session.claim(&claim).await {
        said.add_error(&error);
    }
    for work in claimed {
        work.cancel().await.unwrap();
    }

    // Every kind of error.
    let encoded = FORMS[1];
    let port = tls.server.port().unwrap();
    for url in [
        tls.url(&format!("user=clerk password={PASSWORD}x {full}")),
        tls.url(&format!("user=nobody password={PASSWORD} {full}")),
        tls.url(&format!(
            "dbname=nowhere user=clerk password={PASSWORD} {full}"
        )),
        tls.url(&format!(
            "password={PASSWORD} sslmode=verify-full sslrootcert={wrong}"
        )),
        tls.url(&format!("password={PASSWORD} sslmode=require {strange}")),
        tls.url(&format!("password={PASSWORD} sslmode=require")),
        tls.url(&format!("password={PASSWORD} sslmode=disable")),
        tls.url(&format!(
            "password={PASSWORD} {full} target_session_attrs=standby"
        )),
        tls.url(&format!(
            "password={PASSWORD} sslmode=verify-full sslrootcert=/nowhere"
        )),
        format!("postgres://clerk:{encoded}@127.0.0.1:{port}/db?sslmode=verify-full"),
        format!("postgres://clerk:{encoded}@127.0.0.1:1,[::1]:1/db"),
        format!("postgres://clerk:{encoded}@127.0.0.1:{port}/db?sslmode={encoded}"),
        format!("postgres://clerk:{encoded}@127.0.0.1:{port}/db?{encoded}=1"),
        format!("postgres://clerk:{PASSWORD}@127.0.0.1/db"),
        format!("host=h password=x {PASSWORD}"),
        format!("host=h password='{PASSWORD}"),
    ] {
        fails(&said, &url).await;
    }

    let own = std::fs::read_to_string("/proc/self/cmdline").unwrap_or_default();
    said.add(own);
    let text = said.text();
    assert!(
        text.contains("TRACE") && text.contains("127.0.0.1"),
        "the log was not recorded"
    );
    for form in FORMS {
        let at = text.find(form);
        let around = at.map(|at| &text[at.saturating_sub(200)..at + form.len()]);
        assert_eq!(around, None, "{form} was said");
    }
    for key in [&client.key, &server.key] {
        for line in key.lines().filter(|line| !line.starts_with('-')) {
            assert!(!text.contains(line), "a key was said");
        }
    }
}
