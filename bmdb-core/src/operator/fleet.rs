//! Fleet files: lists of machines as JSON, checked to the line and imported as a whole.
//!
//! ```json
//! {
//!   "machines": [
//!     {"provider": "Equinix", "provider_id": "8d2b1f0c", "ip_address": "10.0.0.7", "location": "fra2"}
//!   ]
//! }
//! ```
//! `provider` and `provider_id` are required and unique together; `ip_address`, `location` and
//! `machine_id` (a UUID; random without it) are optional. Anything else is an error.

mod parse;

use crate::db::transaction::Tx;
use crate::error::TxError;
use bmdb_model::internal::provided;
use bmdb_model::provided::KnownMachine;
use bmdb_model::{MachineId, ProvidedMachine, machine};
use std::collections::HashSet;

/// How many machines one statement inserts; a statement has at most 65,535 binds.
const CHUNK: usize = 5000;

/// The machines of a fleet file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    machines: Vec<ProvidedMachine>,
}

/// What became of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Imported {
    /// The machines that were created, in the order of the file.
    pub created: Vec<MachineId>,
    /// Those that were passed over, under the ids by which they are known.
    pub skipped: Vec<ProvidedMachine>,
}

/// What is wrong with a fleet file, and where.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct FleetError {
    /// The line, from 1.
    pub line: usize,
    /// The column in bytes, from 1.
    pub column: usize,
    /// What is wrong, with the field's name.
    pub problem: String,
}

impl Fleet {
    /// Reads a fleet file.
    ///
    /// # Errors
    /// [`FleetError`] at the first thing that is wrong: no JSON, an unknown, missing or repeated
    /// field, a malformed value, or a machine that was listed before.
    pub fn parse(json: &str) -> Result<Self, FleetError> {
        serde_json::from_str(json).map_err(|error| {
            let text = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            FleetError {
                line: error.line(),
                // It is 0 where nothing of the line was read.
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

    /// The same, without all but the first `count` machines.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.machines.truncate(count);
        self
    }
}

impl Tx<'_> {
    /// Creates all machines of a fleet with their tag `provided`, or none; returns what was created.
    ///
    /// # Errors
    /// [`bmdb_model::Error::ProviderIdTaken`] or [`bmdb_model::Error::MachineExists`] for the first
    /// machine that is known already; the database's.
    pub async fn import_fleet(&mut self, fleet: &Fleet) -> Result<Imported, TxError> {
        let mut imported = Imported::default();
        for machines in fleet.machines.chunks(CHUNK) {
            provided::refuse_known(self, machines).await?;
            imported.created.extend(self.import(machines).await?);
        }
        Ok(imported)
    }

    /// Creates the machines of a fleet that are not known yet, with their tag `provided`. Known is a
    /// machine whose provider and provider's id are in the database; it stays as it is, also where the
    /// file has it otherwise.
    ///
    /// # Errors
    /// [`bmdb_model::Error::MachineExists`] for a machine id of the file that belongs to another
    /// machine; the database's.
    pub async fn import_unknown(&mut self, fleet: &Fleet) -> Result<Imported, TxError> {
        let mut imported = Imported::default();
        for machines in fleet.machines.chunks(CHUNK) {
            let known = provided::known(self, machines).await?;
            let passed_over: HashSet<MachineId> =
                known.iter().map(|known| known.listed.machine_id).collect();
            for known in known {
                imported.skipped.push(under_its_id(known)?);
            }
            let new = machines
                .iter()
                .filter(|m| !passed_over.contains(&m.machine_id));
            let new: Vec<ProvidedMachine> = new.cloned().collect();
            imported.created.extend(self.import(&new).await?);
        }
        Ok(imported)
    }

    async fn import(&mut self, machines: &[ProvidedMachine]) -> Result<Vec<MachineId>, TxError> {
        let ids: Vec<MachineId> = machines.iter().map(|m| m.machine_id).collect();
        machine::create(self, &ids).await?;
        provided::insert_all(self, machines).await?;
        self.made(ids.iter().copied());
        Ok(ids)
    }
}

/// The machine as it is known, if it is the one that the file means.
fn under_its_id(known: KnownMachine) -> Result<ProvidedMachine, bmdb_model::Error> {
    let listed = known.listed;
    match known.provided {
        Some(machine) if machine == listed.machine_id || !known.id_is_taken => {
            Ok(ProvidedMachine::new(machine, listed.provided))
        }
        _ => Err(bmdb_model::Error::MachineExists(listed.machine_id)),
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
    fn what_is_wrong_is_said_with_its_line_and_field() {
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
