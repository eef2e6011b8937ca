//! `bmdb serve`: its address, its access control, and its end.

use crate::bmdb::{at, bmdb, due_machine, nowhere};
use bmdb_testkit::TestDb;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server that is killed when the test ends.
pub(crate) struct Serving {
    child: Child,
    pub(crate) line: String,
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Serving {
    /// Starts it on a free port, and waits until it prints its address.
    pub(crate) fn start(db: &TestDb, args: &[&str]) -> Self {
        let program = bmdb(db)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .args(args);
        Self::run(program.command())
    }

    /// Runs this command, which is a server, and waits until it prints its address.
    fn run(mut command: Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        Self { child, line }
    }

    fn address(&self) -> SocketAddr {
        let after = self.line.split("http://").nth(1).expect(&self.line);
        after.split('/').next().unwrap().parse().unwrap()
    }

    pub(crate) fn get(&self, target: &str, header: &str) -> String {
        get(self.address(), target, header)
    }

    /// Ends it with SIGTERM; returns its exit code.
    fn end(mut self) -> Option<i32> {
        end(&self.child);
        self.child.wait().unwrap().code()
    }
}

fn end(child: &Child) {
    let pid = i32::try_from(child.id()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
}

fn get(address: SocketAddr, target: &str, header: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let limit = Some(Duration::from_secs(10));
    stream.set_read_timeout(limit).unwrap();
    let request =
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn the_console_and_the_metrics_are_served_until_sigterm() {
    let db = TestDb::new().await.unwrap();
    db.machine().create().await.unwrap();
    let server = Serving::start(&db, &[]);
    assert!(
        server.line.starts_with("Listening on http://127.0.0.1:"),
        "{}",
        server.line
    );
    assert!(server.get("/healthz", "").starts_with("HTTP/1.1 200"));
    assert!(server.get("/readyz", "").contains("{\"ready\":true}"));
    let page = server.get("/machines", "");
    assert!(
        page.contains("<title>") && page.contains("content-security-policy"),
        "{page}"
    );
    let counted = || server.get("/metrics", "");
    while !counted().contains("bmdb_stats_machines 1\n") {
        assert!(
            !counted().contains("bmdb_stats_machines 0\n"),
            "the fleet is counted after the machine was created"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
    for other in [
        "# TYPE bmdb_web_requests counter",
        "bmdb_session_started{component=\"bmdb-serve\",processor=\"bmdb-serve\"} 0",
    ] {
        assert!(counted().contains(other), "{other} is not in {}", counted());
    }
    assert_eq!(server.end(), Some(0));
}

#[tokio::test]
async fn json_prints_the_address_in_one_line() {
    let db = TestDb::new().await.unwrap();
    let server = Serving::start(&db, &["--json"]);
    let printed: Value = serde_json::from_str(&server.line).unwrap();
    assert_eq!(
        printed["url"],
        format!("http://{}/", printed["address"].as_str().unwrap())
    );
    assert_eq!(server.address().to_string(), printed["address"]);
}

#[tokio::test]
async fn a_token_file_requires_the_token_and_the_token_is_never_printed() {
    let db = TestDb::new().await.unwrap();
    let secret = "correct-horse-battery-staple";
    let path = std::env::temp_dir().join(format!("bmdb-cli-token-{}", std::process::id()));
    std::fs::write(&path, format!("{secret}\n")).unwrap();
    set_mode(&path, 0o600);
    let server = Serving::start(&db, &["--token-file", path.to_str().unwrap()]);
    assert!(server.get("/machines", "").starts_with("HTTP/1.1 401"));
    let header = format!("Authorization: Bearer {secret}\r\n");
    assert!(server.get("/machines", &header).starts_with("HTTP/1.1 200"));
    assert!(!server.line.contains(secret));
    set_mode(&path, 0o644);
    let refused = bmdb(&db).args(["serve", "--token-file", path.to_str().unwrap()]);
    let refused = refused.fails_with(2, "chmod");
    assert!(!refused.stderr.contains(secret));
    std::fs::remove_file(&path).unwrap();
}

fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_public_address_needs_a_token_or_certificates() {
    let open = nowhere().args(["serve", "--listen", "0.0.0.0:0"]);
    let open = open.fails_with(2, "--token-file");
    assert!(open.stdout.is_empty());
    nowhere()
        .args(["serve", "--listen", "everywhere"])
        .fails_with(2, "127.0.0.1:8717");
    nowhere()
        .args(["serve", "--tls-cert", "a.crt"])
        .fails_with(2, "--tls-key");
    nowhere()
        .args(["serve", "--client-ca", "a.crt"])
        .fails_with(2, "--tls-cert");
}

#[test]
fn an_unreachable_database_is_reported_before_anything_is_served() {
    let gone = at("postgres://postgres@127.0.0.1:1/postgres?sslmode=disable");
    let gone = gone
        .args(["serve", "--listen", "127.0.0.1:0"])
        .fails_with(5, "127.0.0.1");
    assert!(gone.stdout.is_empty(), "{gone:?}");
}

#[tokio::test]
async fn a_replica_can_be_read_instead_of_the_primary() {
    let db = TestDb::new().await.unwrap();
    let unreachable = "postgres://postgres@127.0.0.1:1/postgres?sslmode=disable";
    let server = Serving::start(
        &db,
        &["--database-url", unreachable, "--read-url", db.url()],
    );
    assert!(server.get("/readyz", "").contains("{\"ready\":true}"));
}

#[tokio::test]
async fn a_control_loop_serves_its_own_metrics() {
    let db = TestDb::new().await.unwrap();
    due_machine(&db, "a").await;
    let program = bmdb(&db)
        .args([
            "run",
            "--process",
            "ShepherdAgentStart",
            "--exec",
            "cat > /dev/null; exit 1",
        ])
        .args(["--metrics-listen", "127.0.0.1:0"]);
    let mut command = program.command();
    let command = command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = lines.find_map(|line| {
        let line = line.unwrap();
        Some(line.split("http://").nth(1)?.split('/').next()?.to_owned())
    });
    let address: SocketAddr = address.unwrap().parse().unwrap();
    let failed = "bmdb_work_finished{component=\"bmdb-run-ShepherdAgentStart\",processor=\"bmdb-run-ShepherdAgentStart\",process=\"ShepherdAgentStart\",result=\"failed\"} 1";
    let deadline = Instant::now() + Duration::from_secs(10);
    while !get(address, "/metrics", "").contains(failed) {
        assert!(
            Instant::now() < deadline,
            "{}",
            get(address, "/metrics", "")
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(get(address, "/healthz", "").contains("ok"));
    end(&child);
    assert!(child.wait().unwrap().success());
    bmdb(&db)
        .args(["run", "--process", "ShepherdAgentStart", "--exec", "true"])
        .args(["--metrics-listen", "0.0.0.0:0"])
        .fails_with(2, "give a token (--metrics-token-file)");
}

/// Below a reverse proxy the links of the console led to the root, and its load balancer got 421 for a health
/// check by HTTP/1.0.
#[tokio::test]
async fn a_base_path_is_part_of_every_link_and_health_checks_need_no_host() {
    let db = TestDb::new().await.unwrap();
    let server = Serving::start(&db, &["--base-path", "fleet"]);
    assert!(server.line.ends_with("/fleet/\n"), "{}", server.line);
    for target in ["/fleet", "/fleet/", "/", "/fleet/machines", "/machines"] {
        let page = server.get(target, "");
        assert!(page.starts_with("HTTP/1.1 200"), "{target}: {page}");
        assert!(page.contains("href=\"/fleet/\"") && !page.contains("href=\"/machines"));
    }
    for request in [
        "GET /healthz HTTP/1.0\r\n\r\n",
        "GET /fleet/readyz HTTP/1.0\r\n\r\n",
        "HEAD /healthz HTTP/1.1\r\nHost: 10.0.0.7\r\nConnection: close\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 200 OK\r\n"), "{request}: {answer}");
    }
    for bad in ["/a b", "//evil.example", "/machines"] {
        let refused = bmdb(&db).args(["serve", "--base-path", bad]);
        refused.fails_with(2, "such as /fleet");
    }
}

/// A server with few file descriptors accepted nothing until idle clients had timed out.
#[tokio::test]
async fn idle_clients_do_not_use_up_the_file_descriptors() {
    let db = TestDb::new().await.unwrap();
    let program = bmdb(&db).command();
    let mut command = Command::new("sh");
    let serve = "ulimit -n 64; exec \"$0\" serve --listen 127.0.0.1:0";
    command.args(["-c", serve]).arg(program.get_program());
    for (name, value) in program.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let server = Serving::run(command);
    let idle: Vec<_> = (0..100)
        .map(|_| TcpStream::connect(server.address()).unwrap())
        .collect();
    let began = Instant::now();
    assert!(server.get("/healthz", "").contains(" 200 OK"));
    // Idle connections are closed after ten seconds.
    assert!(began.elapsed() < Duration::from_secs(8));
    drop(idle);
}
