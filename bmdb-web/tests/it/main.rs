//! What the console promises, asked over its router as a browser asks.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod backoffs;
mod cost;
mod fleet;
mod frame;
mod guard;
mod html;
mod http;
mod large;
mod links;
mod machine;
mod machines;
mod metrics;
mod monitoring;
mod overview;
mod sample;
mod scenario;
mod seed;
mod serve;
mod sessions;
mod work;
