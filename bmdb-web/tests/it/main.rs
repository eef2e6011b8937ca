//! What the console promises, asked over its router as a browser asks.

mod backoffs;
mod fleet;
mod frame;
mod overview;
mod scenario;
mod sessions;
mod work;
