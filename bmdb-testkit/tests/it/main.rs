//! The testkit's own tests.

mod audit;
mod child;
mod crash;
mod database;
mod dedicated_server;
mod failures;
mod family;
mod fetch;
mod fixture;
mod folder;
mod lookup;
mod namespace;
mod proxy;
mod server;
mod shared;
mod sharing;
mod standby;
mod tcp;
mod template;
mod time;

type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;
