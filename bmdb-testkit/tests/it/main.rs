//! The testkit's own tests.

mod audit;
mod child;
mod database;
mod fetch;
mod fixture;
mod folder;
mod lookup;
mod own;
mod proxy;
mod server;
mod sharing;
mod time;

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;
