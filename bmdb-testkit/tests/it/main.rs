//! The testkit's own tests.

mod audit;
mod database;
mod fixture;
mod folder;
mod lookup;
mod server;
mod time;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;
