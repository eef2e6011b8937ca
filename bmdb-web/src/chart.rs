//! Charts: drawn by the server as SVG, with the same numbers as a table.
//!
//! All functions are pure. Colours and text sizes are classes of the stylesheet, because the content
//! security policy forbids inline styles.

mod intervals;
mod plot;
mod scale;
mod stacked;

pub(crate) use intervals::{Interval, intervals};
pub(crate) use stacked::{Bar, Series, stacked};
