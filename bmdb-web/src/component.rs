//! Components: the parts that pages are made of.

pub(crate) mod badge;
pub(crate) mod card;
pub(crate) mod cause;
pub(crate) mod empty;
pub(crate) mod filter;
pub(crate) mod id;
pub(crate) mod interval;
pub(crate) mod number;
pub(crate) mod pager;
pub(crate) mod state;
pub(crate) mod table;
pub(crate) mod tag;
pub(crate) mod time;
