//! Faults: connections that are cut, killed or silent, and futures that are dropped midway.

mod claims;
mod dropped;
mod ends;
mod lease;
mod proxy;
