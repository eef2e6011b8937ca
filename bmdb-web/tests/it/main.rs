//! What the console promises, asked over its router as a browser asks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod frame;
mod guard;
mod http;
mod metrics;
mod monitoring;
mod sample;
mod scenario;
mod serve;
