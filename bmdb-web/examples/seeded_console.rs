//! A console over a seeded fleet with every state, on its own database server: for developing pages.
//!
//! ```sh
//! cargo run -p bmdb-web --example seeded_console -- 8080
//! ```

#![allow(clippy::print_stdout, reason = "it prints its addresses")]

#[allow(dead_code, missing_docs, reason = "tests use more of it")]
#[path = "../tests/it/fleet.rs"]
mod fleet;

use bmdb_core::{Config, Reader};
use bmdb_testkit::TestDb;
use bmdb_web::{Console, ConsoleOptions, SampleOptions, Sampler};
use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = match std::env::args().nth(1) {
        Some(port) => port.parse()?,
        None => 0,
    };
    let db = TestDb::new().await?;
    let seeded = fleet::seed(&db).await?;
    let config = Config::new(db.url()).pool_size(2);
    let reader = Reader::connect(config.clone()).await?;
    let counter = Reader::connect(config.pool_size(1)).await?;
    let sampler = Sampler::start(counter, SampleOptions::default());
    let console = Console::new(reader, ConsoleOptions::default()).sampler(sampler);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await?;
    let at = format!("http://{}", listener.local_addr()?);
    println!("{at}/");
    for machine in [seeded.worst, seeded.stuck, seeded.on_hold, seeded.bare] {
        println!("{at}/machines/{machine}");
    }
    for session in [seeded.live, seeded.expired, seeded.ended] {
        println!("{at}/sessions/{session}");
    }
    Ok(axum::serve(listener, console.router()).await?)
}
