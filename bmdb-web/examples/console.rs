//! The console inside another application: `DATABASE_URL=… cargo run -p bmdb-web --example console`.
#![allow(clippy::print_stdout, reason = "it prints its address")]

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use bmdb_core::{Config, Reader};
use bmdb_web::{Console, ConsoleOptions, SampleOptions, Sampler};
use std::time::Duration;

/// The console's path in the application.
const PATH: &str = "/bmdb";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::var("DATABASE_URL")?;
    let mut config = Config::new(url).pool_size(4);
    config.statement_timeout = Duration::from_secs(3);
    let options = ConsoleOptions {
        base_path: PATH.to_owned(),
        ..ConsoleOptions::default()
    };
    let counter = Reader::connect(config.clone().pool_size(1)).await?;
    let sampler = Sampler::start(counter, SampleOptions::default());
    let console = Console::new(Reader::connect(config).await?, options).sampler(sampler);
    let app = Router::new()
        .route("/", get(Redirect::temporary(&format!("{PATH}/machines"))))
        .nest(PATH, console.router());
    let address = std::env::args().nth(1);
    let address = address.as_deref().unwrap_or("127.0.0.1:7878");
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}{PATH}/machines", listener.local_addr()?);
    axum::serve(listener, app).await?;
    Ok(())
}
