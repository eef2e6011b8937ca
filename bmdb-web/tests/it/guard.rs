//! Guard: tokens, limits and timeouts, over real sockets.

use crate::http::{Running, exchange, options, read, read_one, serve};
use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bmdb_web::{Monitor, ServeOptions, Token, TokenError};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

const SECRET: &str = "correct-horse-battery-staple";

/// A page, and the routes for programs.
fn routes() -> Router {
    Router::new()
        .route("/", get(async || "secret page"))
        .merge(Monitor::new().router())
}

async fn open() -> Running {
    serve(options(), routes()).await
}

async fn with_token() -> Running {
    let mut options = options();
    options.token = Some(Token::new(SECRET).unwrap());
    serve(options, routes()).await
}

#[tokio::test]
async fn without_the_token_only_health_checks_are_answered() {
    let server = with_token().await;
    for target in [
        "/",
        "/metrics",
        "/no/such/page",
        "/healthz/",
        "/healthz?x",
        "//healthz",
    ] {
        let answer = server.get(target).await;
        let expected = if target == "/healthz?x" { 200 } else { 401 };
        assert_eq!(answer.status, expected, "{target}");
        assert!(!answer.body.contains("secret page"));
    }
    let refused = server.get("/").await;
    assert_eq!(
        refused.header("www-authenticate"),
        Some(r#"Basic realm="bmdb", charset="UTF-8""#)
    );
    // This monitor has no database to check, so it has no /readyz.
    for (target, status) in [("/healthz", 200), ("/readyz", 404)] {
        assert_eq!(server.get(target).await.status, status, "{target}");
    }
}

#[tokio::test]
async fn the_token_is_accepted_as_bearer_and_as_password() {
    let server = with_token().await;
    let basic =
        |credentials: &str| format!("Authorization: Basic {}", STANDARD.encode(credentials));
    for good in [
        format!("Authorization: Bearer {SECRET}"),
        basic(&format!("me:{SECRET}")),
    ] {
        let answer = server.get_with("/", &good).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "secret page"),
            "{good}"
        );
        assert_eq!(server.get_with("/metrics", &good).await.status, 200);
    }
    for bad in [
        format!("Authorization: Bearer {SECRET}r"),
        "Authorization: Bearer".to_owned(),
        basic(&format!("{SECRET}:me")),
        format!("Cookie: token={SECRET}"),
    ] {
        assert_eq!(server.get_with("/", &bad).await.status, 401, "{bad}");
    }
    let in_the_url = server.get(&format!("/?token={SECRET}")).await;
    assert_eq!(in_the_url.status, 401);
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let server = with_token().await;
    let token = format!("Authorization: Bearer {SECRET}");
    let asked = [
        server.get_with("/", &token).await,
        server.get_with("/no/such/page", &token).await,
        server.get("/").await,
        server.get("/healthz").await,
        server.ask("POST / HTTP/1.1\r\nHost: localhost\r\n").await,
        server.ask("GET / HTTP/1.1\r\nHost: evil.example\r\n").await,
    ];
    assert_eq!(
        asked.each_ref().map(|answer| answer.status),
        [200, 404, 401, 200, 405, 421]
    );
    for answer in asked {
        let policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; \
                      connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
        for (name, value) in [
            ("content-security-policy", policy),
            ("x-frame-options", "DENY"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{answer:?}");
        }
        assert!(answer.header("permissions-policy").is_some());
    }
}

#[tokio::test]
async fn only_get_and_head_are_answered() {
    let server = open().await;
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "CONNECT", "BREW"] {
        let answer = server
            .ask(&format!("{method} / HTTP/1.1\r\nHost: localhost\r\n"))
            .await;
        assert_eq!(answer.status, 405, "{method}");
        let allowed = Some("GET, HEAD, OPTIONS");
        assert_eq!(answer.header("allow"), allowed, "{method}");
    }
    let head = server.ask("HEAD / HTTP/1.1\r\nHost: localhost\r\n").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    let body = server.get_with("/", "Content-Length: 5").await;
    assert_eq!(body.status, 413);
}

#[tokio::test]
async fn a_loopback_server_only_answers_to_its_names() {
    let mut options = options();
    options.allowed_hosts = vec!["bmdb.example".to_owned()];
    let server = serve(options, routes()).await;
    let port = server.address.port();
    for (host, status) in [
        ("localhost".to_owned(), 200),
        (format!("127.0.0.1:{port}"), 200),
        ("bmdb.example".to_owned(), 200),
        ("evil.example".to_owned(), 421),
        (format!("evil.example:{port}"), 421),
        ("localhost.evil.example".to_owned(), 421),
    ] {
        let answer = server
            .ask(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n"))
            .await;
        assert_eq!(answer.status, status, "{host}");
    }
}

/// Load balancers check by HTTP/1.0 without a host, by OPTIONS, or under any name or address: all got 421 or
/// 405, and took the server out of service.
#[tokio::test]
async fn health_checks_of_every_kind_are_answered() {
    for server in [open().await, with_token().await] {
        for (lines, status) in [
            ("GET /healthz HTTP/1.0\r\n", 200),
            ("HEAD /healthz HTTP/1.0\r\n", 200),
            ("GET /healthz HTTP/1.1\r\n", 200),
            ("GET /healthz HTTP/1.1\r\nHost: \r\n", 200),
            ("GET /healthz HTTP/1.1\r\nHost: 10.1.2.3:8717\r\n", 200),
            ("GET /healthz HTTP/1.1\r\nHost: pod-7.svc.local\r\n", 200),
            (
                "GET http://any.example/healthz HTTP/1.1\r\nHost: any.example\r\n",
                200,
            ),
            ("OPTIONS /healthz HTTP/1.0\r\n", 204),
            ("OPTIONS / HTTP/1.0\r\n", 204),
            ("OPTIONS * HTTP/1.1\r\nHost: any\r\n", 204),
        ] {
            assert_eq!(server.ask(lines).await.status, status, "{lines:?}");
        }
    }
    let server = open().await;
    assert_eq!(server.ask("GET /metrics HTTP/1.0\r\n").await.status, 200);
    assert_eq!(server.ask("GET /metrics HTTP/1.1\r\n").await.status, 421);
    let evil = "GET /metrics HTTP/1.0\r\nHost: evil.example\r\n";
    assert_eq!(server.ask(evil).await.status, 421);
}

#[tokio::test]
async fn too_many_requests_are_refused_with_a_time_to_wait() {
    let server = open().await;
    let mut stream = server.connect().await;
    let mut statuses = Vec::new();
    for _ in 0..150 {
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .await
            .unwrap();
        let answer = read_one(&mut stream).await;
        statuses.push(answer.status);
        if answer.status == 429 {
            assert_eq!(answer.header("retry-after"), Some("1"));
            // A refused client loses its connection too.
            assert_eq!(answer.header("connection"), Some("close"));
            break;
        }
    }
    assert_eq!(statuses[..100], [200; 100]);
    assert_eq!(statuses.last(), Some(&429));
    assert_eq!(server.get("/healthz").await.status, 200);
}

#[tokio::test]
async fn requests_that_are_too_long_are_refused() {
    let server = open().await;
    let long = "x".repeat(5000);
    assert_eq!(server.get(&format!("/?{long}")).await.status, 414);
    let header = format!("X: {}", "x".repeat(100_000));
    assert_eq!(server.get_with("/", &header).await.status, 431);
    let many: String = (0..100).map(|n| format!("X-{n}: x\r\n")).collect();
    assert_eq!(server.get_with("/", many.trim_end()).await.status, 431);
    assert_eq!(server.get("/").await.status, 200);
}

/// One connection at most, and short timeouts.
async fn crowded(routes: Router) -> Running {
    let mut options = options();
    options.max_connections = 1;
    options.client_timeout = Duration::from_millis(300);
    serve(options, routes).await
}

#[tokio::test]
async fn a_client_that_sends_too_slowly_loses_its_connection() {
    let server = crowded(routes()).await;
    for sent in ["", "GET / HTTP/1.1\r\nHost: local"] {
        let mut slow = server.connect().await;
        slow.write_all(sent.as_bytes()).await.unwrap();
        // This client waits until the slow one is disconnected.
        assert_eq!(server.get("/").await.status, 200, "{sent:?}");
        let given_up = read(&mut slow).await;
        assert!([0, 408].contains(&given_up.status), "{given_up:?}");
    }
    let mut idle = server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(read_one(&mut idle).await.status, 200);
    assert_eq!(
        server.get("/").await.status,
        200,
        "after an idle connection"
    );
}

#[tokio::test]
async fn a_client_that_does_not_read_loses_its_connection() {
    let large = get(async || "x".repeat(64 << 20));
    let server = crowded(routes().route("/large", large)).await;
    let mut stalled = server.connect().await;
    stalled
        .write_all(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(server.get("/").await.status, 200);
}

#[tokio::test]
async fn a_response_that_takes_too_long_is_abandoned() {
    let mut options = options();
    options.response_timeout = Duration::from_millis(100);
    let slow = get(async || std::future::pending::<&str>().await);
    let server = serve(options, routes().route("/slow", slow)).await;
    assert_eq!(server.get("/slow").await.status, 504);
}

#[tokio::test]
async fn malformed_requests_are_refused_and_the_server_goes_on() {
    let server = open().await;
    for nonsense in [
        "\0\0\0\0\r\n\r\n",
        "GET\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\x16\x03\x01\x02\r\n\r\n",
    ] {
        let mut stream = server.connect().await;
        let answer = exchange(&mut stream, nonsense).await;
        assert!(
            [0, 400].contains(&answer.status),
            "{nonsense:?}: {answer:?}"
        );
    }
    assert_eq!(server.get("/").await.status, 200);
}

#[tokio::test]
async fn an_address_that_other_machines_reach_needs_a_token_or_certificates() {
    for listen in ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"] {
        let mut options = ServeOptions::default();
        options.listen = listen.parse().unwrap();
        let error = bmdb_web::Server::bind(options)
            .await
            .unwrap_err()
            .to_string();
        for needed in ["--token-file", "--client-ca", "127.0.0.1", listen] {
            assert!(error.contains(needed), "{error}");
        }
    }
    let mut options = ServeOptions::default();
    options.listen = "0.0.0.0:0".parse().unwrap();
    options.token = Some(Token::new(SECRET).unwrap());
    let server = serve(options, routes()).await;
    let head =
        format!("GET / HTTP/1.1\r\nHost: bmdb.example\r\nAuthorization: Bearer {SECRET}\r\n");
    assert_eq!(server.ask(&head).await.status, 200);
}

#[test]
fn a_token_file_must_not_be_readable_by_every_user() {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::temp_dir().join(format!("bmdb-token-{}", std::process::id()));
    let write = |text: &str, mode| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Token::read(&path)
    };
    let open = write(SECRET, 0o644).unwrap_err();
    assert!(matches!(open, TokenError::WorldReadable(_)));
    assert!(open.to_string().contains("chmod"), "{open}");
    for ending in ["", "\n", "\r\n"] {
        write(&format!("{SECRET}{ending}"), 0o640).unwrap();
    }
    assert!(matches!(
        write(&format!("{SECRET}\n\n"), 0o600),
        Err(TokenError::Character)
    ));
    let short = write("short\n", 0o600).unwrap_err();
    assert!(
        matches!(short, TokenError::Length(5)) && !short.to_string().contains("short"),
        "{short}"
    );
    assert!(matches!(write("", 0o600), Err(TokenError::Length(0))));
    std::fs::remove_file(&path).unwrap();
    let gone = Token::read(&path).unwrap_err();
    assert!(
        gone.to_string().contains("cannot read the token file"),
        "{gone}"
    );
}
