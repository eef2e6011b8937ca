//! What the console promises, asked over its router as a browser asks.

mod frame;
mod scenario;
