//! Base path: the whole console below a reverse proxy that removes its path from requests, and below one
//! that does not.

use crate::fleet;
use crate::http::{Answer, Running, exchange, options, serve};
use crate::scenario::console;
use axum::Router;
use bmdb_testkit::TestDb;
use bmdb_web::{ConsoleOptions, Monitor};
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const BASE: &str = "/fleet";

/// What the reverse proxy does with its path before it passes a request on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Prefix {
    Removed,
    Kept,
}

/// A reverse proxy that knows one path, and names itself as the host.
struct ReverseProxy {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for ReverseProxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ReverseProxy {
    async fn start(server: SocketAddr, prefix: Prefix) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(pass_on(client, server, prefix));
            }
        });
        Self { address, task }
    }

    async fn get(&self, target: &str) -> Answer {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: proxy\r\n\r\n");
        exchange(&mut stream, &request).await
    }
}

async fn pass_on(mut client: TcpStream, server: SocketAddr, prefix: Prefix) {
    let mut head = vec![0; 8192];
    let read = client.read(&mut head).await.unwrap();
    let head = String::from_utf8_lossy(&head[..read]).into_owned();
    let target = head.split(' ').nth(1).unwrap();
    let Some(rest) = target.strip_prefix(BASE) else {
        let text = "HTTP/1.1 404 not of the console\r\nConnection: close\r\n\r\n";
        return client.write_all(text.as_bytes()).await.unwrap();
    };
    let target = match (prefix, rest.starts_with('/')) {
        (Prefix::Kept, _) => target.to_owned(),
        (Prefix::Removed, true) => rest.to_owned(),
        (Prefix::Removed, false) => format!("/{rest}"),
    };
    let mut upstream = TcpStream::connect(server).await.unwrap();
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: ops.example\r\nX-Forwarded-Host: evil.example\r\n\
         X-Forwarded-Prefix: /evil\r\nX-Forwarded-Proto: https\r\nConnection: close\r\n\r\n"
    );
    upstream.write_all(request.as_bytes()).await.unwrap();
    tokio::io::copy(&mut upstream, &mut client).await.unwrap();
}

/// The addresses in a page or a stylesheet: links, forms, images, scripts.
fn addresses(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (before, end) in [
        (" href=\"", '"'),
        (" src=\"", '"'),
        (" action=\"", '"'),
        ("url(", ')'),
    ] {
        let addresses = text.split(before).skip(1);
        let addresses = addresses.filter_map(|rest| rest.split(end).next());
        found.extend(addresses.map(|address| address.replace("&amp;", "&")));
    }
    found.retain(|address| !address.starts_with('#'));
    found
}

/// Pages of the same kind have the same shape: ids and values are left out.
fn shape(address: &str) -> String {
    let (path, query) = address.split_once('?').unwrap_or((address, ""));
    let parts = path.split('/').map(|part| match part.len() {
        36 => "id",
        _ => part,
    });
    let names = query.split('&').filter_map(|pair| pair.split('=').next());
    let parts: Vec<&str> = parts.chain(names).collect();
    parts.join("/")
}

async fn console_at(base: &str, db: &TestDb) -> Running {
    let paths = ConsoleOptions {
        base_path: base.to_owned(),
        ..ConsoleOptions::default()
    };
    let mut options = options();
    options.base_path = base.to_owned();
    options.allowed_hosts = vec!["ops.example".to_owned()];
    let routes = Monitor::new().router();
    serve(options, routes.merge(console(db, paths).await.router())).await
}

/// Visits what the console links to, starting at its base path. Returns how many kinds of pages there are.
async fn crawl(proxy: &ReverseProxy) -> usize {
    let mut shapes = BTreeSet::new();
    let mut next = VecDeque::from([format!("{BASE}/"), BASE.to_owned()]);
    while let Some(address) = next.pop_front() {
        let answer = proxy.get(&address).await;
        assert_eq!(answer.status, 200, "{address}: {answer:?}");
        for name in ["location", "set-cookie", "access-control-allow-origin"] {
            assert_eq!(answer.header(name), None, "{address}");
        }
        for found in addresses(&answer.body) {
            let is_below = found == BASE || found.starts_with("/fleet/");
            assert!(is_below, "{address} links to {found}");
            if shapes.insert(shape(&found)) {
                next.push_back(found);
            }
        }
    }
    shapes.len()
}

/// `bmdb serve` could not be put below a path: its links and its stylesheet led to the root of the proxy.
#[tokio::test]
async fn every_link_and_asset_works_below_a_reverse_proxy() {
    let db = TestDb::new().await.unwrap();
    fleet::seed(&db).await.unwrap();
    let mut kinds = Vec::new();
    for (prefix, base) in [(Prefix::Removed, "/fleet"), (Prefix::Kept, "fleet/")] {
        let server = console_at(base, &db).await;
        let proxy = ReverseProxy::start(server.address, prefix).await;
        kinds.push(crawl(&proxy).await);
        for (target, status) in [
            ("/fleet/healthz", 200),
            ("/fleet/metrics", 200),
            ("/fleet/nothing", 404),
            ("/fleets", 404),
        ] {
            assert_eq!(
                proxy.get(target).await.status,
                status,
                "{prefix:?} {target}"
            );
        }
        // Checks of the server itself do not go through the proxy.
        assert_eq!(server.get("/healthz").await.status, 200);
        assert_eq!(server.get("/fleet/healthz").await.status, 200);
        assert_eq!(server.get("/fleets/healthz").await.status, 404);
    }
    assert!(kinds[0] > 10, "{kinds:?}");
    assert_eq!(kinds[0], kinds[1]);
}

#[tokio::test]
async fn a_console_that_is_nested_in_an_application_answers_at_its_path() {
    let db = TestDb::new().await.unwrap();
    let paths = ConsoleOptions {
        base_path: BASE.to_owned(),
        ..ConsoleOptions::default()
    };
    let console = console(&db, paths).await.router();
    let server = serve(options(), Router::new().nest(BASE, console)).await;
    let overview = server.get(BASE).await;
    for target in addresses(&overview.body) {
        assert_eq!(server.get(&target).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn an_unusable_base_path_is_refused_with_what_is_expected() {
    for bad in ["//evil.example", "/../x", "/machines", "/a b"] {
        let mut options = options();
        options.base_path = bad.to_owned();
        let error = bmdb_web::Server::bind(options).await.unwrap_err();
        assert!(error.to_string().contains("such as /fleet"), "{error}");
    }
}
