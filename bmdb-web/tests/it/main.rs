//! Tests of the console, the server and the metrics.

#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod backoffs;
mod base_path;
mod cost;
mod fleet;
mod flood;
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
mod processes;
mod sample;
mod scenario;
mod seed;
mod serve;
mod sessions;
mod work;
