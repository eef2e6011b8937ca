//! The operators' console of the Bare Metal Database, and its metrics.
//!
//! [`Console`] is a set of server-rendered pages over a [`bmdb_core::Reader`]: they need no JavaScript,
//! write nothing and hold no lock. Its router can be nested in any axum application:
//!
//! ```
//! # use bmdb_testkit::TestDb;
//! use axum::Router;
//! use bmdb_core::{Config, Reader};
//! use bmdb_web::{Console, ConsoleOptions};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let db = TestDb::new().await?;
//! let reader = Reader::connect(Config::new(db.url()).pool_size(2)).await?;
//! let options = ConsoleOptions {
//!     base_path: "/fleet".to_owned(),
//!     ..ConsoleOptions::default()
//! };
//! let app: Router = Router::new().nest("/fleet", Console::new(reader, options).router());
//! # drop(app);
//! # Ok(())
//! # }
//! ```
//!
//! The pages show the whole database; the application must decide who may see them. [`Server`] is a
//! ready-made choice: it listens on this machine only, or requires a token or client certificates, and
//! limits connections and requests. `bmdb serve` runs it.
//!
//! [`Sampler`] counts the fleet in the background. [`Monitor`] has the routes for other programs:
//! `/metrics`, `/healthz` and `/readyz`.

mod app;
mod assets;
mod chart;
mod component;
mod console;
mod error;
mod guard;
mod health;
mod link;
mod metrics;
mod moment;
mod monitor;
mod page;
mod request;
mod sample;
mod sampler;
mod serve;

pub use console::{Console, ConsoleOptions};
pub use guard::{TlsError, TlsFiles, Token, TokenError};
pub use metrics::console_metrics;
pub use monitor::{Monitor, RecorderInstalled};
pub use sample::Sample;
pub use sampler::{Latest, SampleOptions, Sampler};
pub use serve::{ServeError, ServeOptions, Server};
