//! How long pages take: `DATABASE_URL=… cargo run --release -p bmdb-web --example console_load [PAGE…]`.
//!
//! Asks for each page a hundred times, one after the other, and prints how long the answers took. Without
//! pages it takes lists with and without filters, and a machine.
#![allow(
    clippy::print_stdout,
    reason = "an example that prints what it measures"
)]

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use bmdb_core::{Config, Reader};
use bmdb_web::{Console, ConsoleOptions};
use std::time::{Duration, Instant};
use tower::ServiceExt as _;

const REQUESTS: usize = 100;

type Error = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let config = Config::new(std::env::var("DATABASE_URL")?).pool_size(1);
    let console = Console::new(Reader::connect(config).await?, ConsoleOptions::default());
    let router = console.router();
    let mut pages: Vec<String> = std::env::args().skip(1).collect();
    if pages.is_empty() {
        pages = typical(&router).await?;
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

/// Pages of every kind, with a machine that the list begins with.
async fn typical(router: &Router) -> Result<Vec<String>, Error> {
    let process = "process=ShepherdAgentStart";
    let mut pages = vec!["/machines".to_owned()];
    for query in [
        "provider=Equinix".to_owned(),
        "tag=machine_hold".to_owned(),
        format!("{process}&state=due"),
        format!("{process}&state=waiting"),
        format!("{process}&state=backing-off"),
        format!("{process}&state=held"),
        format!("{process}&state=not-eligible"),
        "tag=machine_hold&provider=Equinix".to_owned(),
        "prefix=777".to_owned(),
    ] {
        pages.push(format!("/machines?{query}"));
    }
    let list = get(router, "/machines").await?;
    let machine = list.split("href=\"/machines/").nth(1);
    if let Some(machine) = machine.and_then(|rest| rest.split('"').next()) {
        pages.push(format!("/machines/{machine}"));
    }
    Ok(pages)
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
