//! Exponential backoff intervals in whole seconds.
//!
//! A [`Backoff`] answers one question: *this failed, and the last time we waited so many seconds;
//! how long do we wait now?* The only state is that last interval, which the caller persists
//! beside the failed work. This crate has no clock, no random generator and no I/O, and a
//! policy is a `Copy` value that can be a `const`:
//!
//! ```
//! use bmdb_backoff::{Backoff, Factor, Seconds};
//!
//! const RETRY: Backoff =
//!     Backoff::exponential(Seconds::new(1).unwrap(), Seconds::new(5).unwrap(), Factor::from_int(2));
//!
//! let mut last = None;
//! let mut waited = Vec::new();
//! for _failure in 0..5 {
//!     let interval = RETRY.next(last);
//!     waited.push(interval.get());
//!     last = Some(interval);
//! }
//! assert_eq!(waited, [1, 2, 4, 5, 5]);
//! ```
//!
//! - [`Backoff::next`] is the recurrence: exact integer arithmetic, rounded up, so that any factor
//!   above 1 really grows, even from one second.
//! - [`Backoff::step`] adds [`Jitter`] to the delay, never to the persisted interval; [`mix`] makes
//!   reproducible random numbers for it.
//! - [`Backoff::schedule`], [`Backoff::total`] and [`Backoff::position`] show where a policy leads.
//! - Policies are written as text, `initial=5m,max=4h,factor=1.2,jitter=full`, and
//!   [parsed](Backoff#impl-FromStr-for-Backoff) with errors that point at the offending byte.
//!
//! The behaviour comes from the BMDB of the Monogon project, whose descriptors
//! [`Backoff::from_reference`] imports.
//!
//! # Features
//!
//! - `serde` (off by default): `Serialize` and `Deserialize` for [`Backoff`], as its text.

#![no_std]
#![forbid(unsafe_code)]

mod backoff;
mod factor;
mod jitter;
mod mix;
mod parse_error;
mod position;
mod reference;
mod runs;
mod schedule;
mod seconds;
#[cfg(feature = "serde")]
mod serde;
mod step;
mod text;

pub use backoff::{Backoff, MaximumBelowInitial};
pub use factor::{Factor, FactorError};
pub use jitter::Jitter;
pub use mix::mix;
pub use parse_error::ParseError;
pub use position::Position;
pub use schedule::Schedule;
pub use seconds::{OutOfRange, Seconds};
pub use step::Step;

/// Compiles the examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
