//! libpq's variables and the files of the home folder, in a separate process.

use crate::tls::{Authority, Folder, Tls};
use bmdb_core::{Bmdb, Config};
use bmdb_testkit::Tcp;
use std::process::{Command, Output};

/// Runs `the_other_process` with these variables and no other of libpq's.
fn run(variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command
        .args(["--exact", "environment::the_other_process", "--ignored"])
        .args(["--nocapture", "--test-threads", "1"])
        .envs(variables.iter().copied())
        .output()
        .unwrap()
}

/// Prints the results of connecting by the environment alone, and by a URL that ignores it.
#[tokio::test]
#[ignore = "a part of the test below"]
#[allow(clippy::print_stdout, reason = "it is read by the other process")]
async fn the_other_process() {
    let filled = Bmdb::connect(Config::from_env().janitor_interval(None)).await;
    let result = filled.map_or_else(|error| error.to_string(), |_| "connected".to_owned());
    println!("from the environment: {result}.");
    let port = std::env::var("PGPORT").unwrap_or_default();
    let url = format!("postgres://u@127.0.0.1:{port}/db");
    let alone = Bmdb::connect(Config::new(url).janitor_interval(None)).await;
    println!(
        "alone: {}.",
        alone.map_or_else(|error| error.to_string(), |_| String::new())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_environment_is_used_only_if_requested() {
    let ours = Authority::new("ours");
    let server = ours.server(&["localhost"]);
    let tcp = Tcp::new()
        .tls(server.certificate, server.key)
        .client_authorities(&ours.certificate)
        .rules(["hostssl all all 127.0.0.1/32 scram-sha-256 clientcert=verify-ca"]);
    let Some(tls) = Tls::boot(tcp).await else {
        return;
    };
    let role = "CREATE ROLE clerk LOGIN SUPERUSER PASSWORD 'secret'";
    tls.db.run_sql(role).await.unwrap();
    let home = Folder::new();
    let client = ours.client("clerk");
    std::fs::create_dir(home.path(".postgresql")).unwrap();
    home.file(".postgresql/root.crt", &ours.certificate);
    home.file(".postgresql/postgresql.crt", &client.certificate);
    home.file(".postgresql/postgresql.key", &client.key);
    let line = format!("localhost:*:{}:clerk:secret", tls.db.name());
    home.file(".pgpass", &line);
    let (folder, port) = (home.path(""), tls.server.port().unwrap().to_string());
    let all = [
        ("HOME", folder.as_str()),
        ("PGHOST", "localhost"),
        ("PGHOSTADDR", "127.0.0.1"),
        ("PGPORT", &port),
        ("PGUSER", "clerk"),
        ("PGDATABASE", tls.db.name()),
        ("PGSSLMODE", "verify-full"),
    ];
    let output = run(&all);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        printed.contains("from the environment: connected."),
        "{printed}"
    );
    let alone = "alone: the database server at 127.0.0.1:";
    assert!(
        printed.contains(alone) && printed.contains("certificate"),
        "{printed}"
    );

    // Each of the files is needed.
    for (file, missing) in [
        (".postgresql/root.crt", "sslrootcert: "),
        (".postgresql/postgresql.crt", "client certificate"),
        (".pgpass", "password"),
    ] {
        let (path, away) = (home.path(file), home.path("away"));
        std::fs::rename(&path, &away).unwrap();
        let output = run(&all);
        let printed = String::from_utf8_lossy(&output.stdout);
        assert!(
            printed.contains(missing) && !printed.contains("connected"),
            "{file}: {printed}"
        );
        std::fs::rename(&away, &path).unwrap();
    }
}
