//! Fleet files: lists of machines as JSON, checked to the line and imported as a whole.
//!
//! ```json
//! {
//!   "machines": [
//!     {"provider": "fra1", "provider_id": "rack-a-07", "ip_address": "10.0.0.7", "location": "rack-a"}
//!   ]
//! }
//! ```
//! `provider` and `provider_id` are required and unique together; `ip_address`, `location` and
//! `machine_id` (a UUID; random without it) are optional. Anything else is an error.

pub(crate) mod import;
mod parse;

use bmdb_model::{MachineId, ProvidedMachine};

/// The machines of a fleet file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    machines: Vec<ProvidedMachine>,
}

/// The result of importing a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Imported {
    /// The machines that were created, in the order of the file.
    pub created: Vec<MachineId>,
    /// The machines that existed already, under their existing ids.
    pub skipped: Vec<ProvidedMachine>,
}

/// An error in a fleet file, with its position.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
#[non_exhaustive]
pub struct FleetError {
    /// The line, from 1.
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
    /// [`FleetError`] at the first error: invalid JSON, an unknown, missing or repeated field, a malformed
    /// value, or a machine that is listed twice.
    pub fn parse(json: &str) -> Result<Self, FleetError> {
        serde_json::from_str(json).map_err(|error| {
            let text = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            FleetError {
                line: error.line(),
                // It is 0 if nothing of the line was read.
                column: error.column().max(1),
                problem: text.strip_suffix(&place).unwrap_or(&text).to_owned(),
            }
        })
    }

    /// The machines, in the order of the file.
    #[must_use]
    pub fn machines(&self) -> &[ProvidedMachine] {
        &self.machines
    }

    /// The same with only the first `count` machines.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.machines.truncate(count);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"machines": [
        {"provider": "Equinix", "provider_id": "a", "ip_address": "127.0.4.1", "location": "fra2"},
        {"provider": "Lumen", "provider_id": "a", "machine_id": "67e55044-10b1-426f-9247-bb680e5fe0c8"}
    ]}"#;

    #[test]
    fn a_fleet_is_read_in_the_order_of_the_file() {
        let fleet = Fleet::parse(GOOD).unwrap();
        let [first, second] = fleet.machines() else {
            panic!("{fleet:?}")
        };
        assert_eq!(first.provided.ip_address.as_deref(), Some("127.0.4.1"));
        assert_eq!(
            second.machine_id.to_string(),
            "67e55044-10b1-426f-9247-bb680e5fe0c8"
        );
        assert_eq!(fleet.clone().first(1).machines().len(), 1);
    }

    #[test]
    fn an_error_names_its_line_and_field() {
        let machine = |fields: &str| format!("{{\"machines\": [\n{{{fields}}}\n]}}");
        for (json, line, problem) in [
            ("", 1, "EOF while parsing a value"),
            (
                "[]",
                1,
                "invalid type: sequence, expected an object with the field `machines`",
            ),
            ("{}", 1, "machines: missing"),
            (
                "{\"machine\": []}",
                1,
                "machine: unknown field, expected machines",
            ),
            (
                &machine(r#""provider": "Equinix""#),
                2,
                "provider_id: missing",
            ),
            (&machine(r#""provider_id": "x""#), 2, "provider: missing"),
            (
                &machine(r#""provider": "Equi nix", "provider_id": "x""#),
                2,
                "provider: \"Equi nix\"",
            ),
            (
                &machine(r#""provider": 5"#),
                2,
                "provider: invalid type: integer `5`",
            ),
            (
                &machine(r#""provider": "A", "provider_id": """#),
                2,
                "provider_id: must not be empty",
            ),
            (
                &machine(r#""provider": "A", "provider": "B""#),
                2,
                "provider: repeated",
            ),
            (
                &machine(r#""provider_id": "a\u0000b""#),
                2,
                "provider_id: contains a NUL byte",
            ),
            (
                &machine(r#""ip_address": "127.0.0.256""#),
                2,
                "ip_address: \"127.0.0.256\": invalid IP",
            ),
            (&machine(r#""machine_id": "12""#), 2, "machine_id: \"12\""),
            (
                &machine(r#""rack": "12""#),
                2,
                "rack: unknown field, expected machine_id, provider",
            ),
            (
                &GOOD.replace("Lumen", "Equinix"),
                3,
                "provider_id: \"a\" of Equinix is listed twice",
            ),
        ] {
            let error = Fleet::parse(json).unwrap_err();
            assert!(error.problem.starts_with(problem), "{json}: {error}");
            assert_eq!(error.line, line, "{json}: {error}");
        }
    }
}
