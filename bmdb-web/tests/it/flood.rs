//! Flood: clients without a token must not keep health checks and operators out.

use crate::http::{Answer, Running, exchange, options, serve};
use axum::Router;
use axum::routing::get;
use bmdb_web::{Monitor, Token};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const SECRET: &str = "correct-horse-battery-staple";

/// More than the server has places.
const HAMMERS: usize = 300;
const IDLE: usize = 100;

const REQUESTS: usize = 30;

/// Far more than an answer takes while the machine is busy.
const SOON: Duration = Duration::from_secs(20);

/// Connects and asks again and again, with what a client without the token may send.
async fn hammer(address: std::net::SocketAddr, nth: usize, refused: Arc<AtomicUsize>) {
    let requests = [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: loc",
        "",
    ];
    let request = requests[nth % requests.len()];
    loop {
        let Ok(mut stream) = TcpStream::connect(address).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let mut answer = Vec::new();
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.read_to_end(&mut answer).await;
        refused.fetch_add(1, Ordering::Relaxed);
    }
}

async fn ask(server: &Running, target: &str, header: &str) -> Answer {
    let mut stream = server.connect().await;
    let text =
        format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{header}Connection: close\r\n\r\n");
    let answer = timeout(SOON, exchange(&mut stream, &text)).await;
    answer.expect("an answer although others flood the server")
}

/// 200 clients without a token used up the connections and the requests per second of all: the supervisor
/// restarted the console because health checks got no answer, and the operator saw 429.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_without_a_token_keeps_nobody_out() {
    let mut options = options();
    options.token = Some(Token::new(SECRET).unwrap());
    let routes = Router::new()
        .route("/", get(async || "page"))
        .merge(Monitor::new().router());
    let server = serve(options, routes).await;
    let refused = Arc::new(AtomicUsize::new(0));
    let mut flood = JoinSet::new();
    let mut idle = Vec::new();
    for _ in 0..IDLE {
        idle.push(server.connect().await);
    }
    for nth in 0..HAMMERS {
        flood.spawn(hammer(server.address, nth, Arc::clone(&refused)));
    }
    let token = format!("Authorization: Bearer {SECRET}\r\n");
    let enough = || refused.load(Ordering::Relaxed) > 1000;
    let mut asked = 0;
    while asked < REQUESTS || !enough() {
        let health = ask(&server, "/healthz", "").await;
        assert_eq!(health.status, 200, "health check {asked}: {health:?}");
        // No more than the operator may ask for.
        if asked < REQUESTS {
            let page = ask(&server, "/", &token).await;
            assert_eq!((page.status, page.body.as_str()), (200, "page"), "{page:?}");
        }
        asked += 1;
    }
    let stranger = ask(&server, "/", "").await;
    assert!([401, 429].contains(&stranger.status), "{stranger:?}");
    drop(idle);
}
