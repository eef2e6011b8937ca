//! Fleet files: lists of machines as JSON, checked to the line and imported as a whole.
//!
//! ```json
//! {
//!   "machines": [
//!     {"provider": "fra1", "provider_id": "rack-a-07", "ip_address": "10.0.0.7", "location": "rack-a"}
//!   ]
//! }
//! ```
//! `provider` and `provider_id` are required and unique together; `machine_id` (a UUID; random without it),
//! `ip_address`, `location`, `reservation_id`, `status` and `hold` are optional, and `null` is like absent.
//! The answers of `bmdb machine list --json` and `bmdb machine show --json` are fleet files too, one or
//! several in a row. `docs/fleet-files.md` describes the format.

mod encoding;
mod error;
mod field;
pub(crate) mod import;
mod machines;
mod parse;
mod position;
mod row;

pub use error::{FleetError, FleetProblem};
pub use machines::{Fleet, Imported};

impl Fleet {
    /// Reads a fleet file.
    ///
    /// # Errors
    /// [`FleetError`] with all problems: invalid JSON, an unknown, missing or repeated field, a malformed
    /// value, or a machine that is listed twice.
    pub fn parse(json: &str) -> Result<Self, FleetError> {
        parse::fleet(json.strip_prefix('\u{feff}').unwrap_or(json))
    }

    /// Reads the bytes of a fleet file.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), also for bytes that are not UTF-8.
    pub fn read(bytes: &[u8]) -> Result<Self, FleetError> {
        Self::parse(encoding::text(bytes)?)
    }
}

#[cfg(test)]
mod tests;
