//! The testkit's own tests.

mod database;
mod time;
