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
pub(crate) mod import;
mod parse;
mod position;
mod row;

use bmdb_model::{MachineId, ProvidedMachine};
use std::fmt;

/// The machines of a fleet file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fleet {
    machines: Vec<ProvidedMachine>,
    without_provider: Vec<MachineId>,
    holds: Vec<(MachineId, String)>,
    notes: Vec<String>,
}

/// The result of importing a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Imported {
    /// The machines that were created, in the order of the file; those without a provider come last.
    pub created: Vec<MachineId>,
    /// The machines that existed already, under their existing ids.
    pub skipped: Vec<ProvidedMachine>,
    /// The machines without a provider that existed already.
    pub skipped_without_provider: Vec<MachineId>,
}

/// What is wrong with a fleet file. Nothing of such a file is imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FleetError {
    problems: Vec<FleetProblem>,
    further: usize,
}

/// One problem of a fleet file, with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetProblem {
    /// The line, from 1. Lines end with a line feed, a carriage return or both.
    pub line: usize,
    /// The column in bytes, from 1.
    pub column: usize,
    /// The problem, with the field's name.
    pub problem: String,
}

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

    /// The machines with a provider, in the order of the file.
    #[must_use]
    pub fn machines(&self) -> &[ProvidedMachine] {
        &self.machines
    }

    /// The machines that the file says have no provider, in the order of the file.
    #[must_use]
    pub fn without_provider(&self) -> &[MachineId] {
        &self.without_provider
    }

    /// The machines that are put on hold when they are created, and the reasons.
    #[must_use]
    pub fn holds(&self) -> &[(MachineId, String)] {
        &self.holds
    }

    /// What the file says and an import leaves out, in sentences for people.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The same with only the first `count` machines that have a provider.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.machines.truncate(count);
        self.without_provider.clear();
        let machines = &self.machines;
        self.holds
            .retain(|(id, _)| machines.iter().any(|machine| machine.machine_id == *id));
        self
    }
}

impl FleetError {
    /// The problems, in the order of the file: the first ones if there are many.
    #[must_use]
    pub fn problems(&self) -> &[FleetProblem] {
        &self.problems
    }

    /// How many further problems there are.
    #[must_use]
    pub const fn further(&self) -> usize {
        self.further
    }
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        match self.further {
            0 => Ok(()),
            further => write!(f, "; and {further} further problems"),
        }
    }
}

impl fmt::Display for FleetProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column, problem) = (self.line, self.column, &self.problem);
        write!(f, "line {line}, column {column}: {problem}")
    }
}

#[cfg(test)]
mod tests;
