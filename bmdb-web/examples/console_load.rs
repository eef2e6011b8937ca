//! Measures how long pages take: a hundred requests for each, one after the other.
//!
//! ```sh
//! cargo run --release -p bmdb-web --example console_load -- --machines 1000000
//! DATABASE_URL=… cargo run --release -p bmdb-web --example console_load [PAGE…]
//! ```
//!
//! The first command makes a fleet of that many machines, with four attempts each, on its own database
//! server. Without pages it measures one page of every kind.
#![allow(clippy::print_stdout, reason = "it prints what it measures")]

#[path = "../tests/it/large.rs"]
mod large;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use bmdb_core::{Config, Reader};
use bmdb_testkit::TestDb;
use bmdb_web::{Console, ConsoleOptions};
use std::time::{Duration, Instant};
use tower::ServiceExt as _;

const REQUESTS: usize = 100;

/// How many attempts each machine of the fleet has made.
const ATTEMPTS: u32 = 4;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    // Dropping it stops its database server.
    let made = match arguments.iter().position(|word| word == "--machines") {
        None => None,
        Some(at) => {
            let machines = arguments.get(at + 1).ok_or("--machines needs a number")?;
            let machines = machines.parse()?;
            arguments.drain(at..at + 2);
            Some(fleet(machines).await?)
        }
    };
    let url = match &made {
        Some(db) => db.url().to_owned(),
        None => std::env::var("DATABASE_URL")?,
    };
    let reader = Reader::connect(Config::new(url).pool_size(1)).await?;
    let router = Console::new(reader, ConsoleOptions::default()).router();
    let mut pages = arguments;
    if pages.is_empty() {
        pages = every_kind(&router).await?;
        if made.is_some() {
            pages.push(format!("/sessions/{}", large::SESSION));
            pages.push(format!("/machines/{}", large::MACHINE));
        }
    }
    println!("{:>9} {:>9} {:>9}  page", "p50 ms", "p95 ms", "max ms");
    for page in pages {
        let mut took = Vec::new();
        for _ in 0..REQUESTS {
            let begun = Instant::now();
            get(&router, &page).await?;
            took.push(begun.elapsed());
        }
        took.sort_unstable();
        let at = |percent: usize| milliseconds(took[(took.len() - 1) * percent / 100]);
        println!("{:>9} {:>9} {:>9}  {page}", at(50), at(95), at(100));
    }
    Ok(())
}

async fn fleet(machines: u32) -> Result<TestDb, Error> {
    let begun = Instant::now();
    let db = TestDb::new().await?;
    for statements in large::statements(machines, ATTEMPTS) {
        db.run_sql(&statements).await?;
    }
    println!(
        "made {machines} machines in {} s",
        begun.elapsed().as_secs()
    );
    Ok(db)
}

/// Pages of every kind, with the first machine and the first session of the lists.
async fn every_kind(router: &Router) -> Result<Vec<String>, Error> {
    let process = "process=ShepherdAgentStart";
    let mut pages = vec!["/".to_owned(), "/machines".to_owned()];
    for query in [
        "provider=Equinix".to_owned(),
        "tag=machine_hold".to_owned(),
        format!("{process}&state=due"),
        format!("{process}&state=waiting"),
        format!("{process}&state=backing-off"),
        format!("{process}&state=claimed"),
        format!("{process}&state=not-eligible"),
        "tag=machine_hold&provider=Equinix".to_owned(),
        "prefix=777".to_owned(),
    ] {
        pages.push(format!("/machines?{query}"));
    }
    if let Some(machine) = linked(router, "/machines", "/machines/").await? {
        pages.push(machine);
    }
    pages.push("/sessions".to_owned());
    if let Some(session) = linked(router, "/work", "/sessions/").await? {
        let later = linked(router, &session, &format!("{session}?after=")).await?;
        pages.push(session);
        pages.extend(later);
    }
    pages.push("/work".to_owned());
    for query in ["which=active", "which=expired"] {
        pages.push(format!("/backoffs?{query}"));
        pages.push(format!("/backoffs?{process}&{query}"));
    }
    Ok(pages)
}

/// The first link on a page that begins with `start`.
async fn linked(router: &Router, page: &str, start: &str) -> Result<Option<String>, Error> {
    let text = get(router, page).await?;
    let mut links = text.split("href=\"").skip(1);
    let link = links.find(|link| link.starts_with(start));
    let link = link.and_then(|link| link.split('"').next());
    Ok(link.map(|link| link.replace("&amp;", "&")))
}

async fn get(router: &Router, page: &str) -> Result<String, Error> {
    let request = Request::builder().uri(page).body(Body::empty())?;
    let response = router.clone().oneshot(request).await?;
    let status = response.status();
    let text = to_bytes(response.into_body(), usize::MAX).await?;
    let text = String::from_utf8(text.to_vec())?;
    match status {
        StatusCode::OK => Ok(text),
        other => Err(format!("{page}: {other}").into()),
    }
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1}", duration.as_secs_f64() * 1000.0)
}
