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

use crate::error::TxError;
use crate::transaction::Tx;
use bmdb_model::{MachineId, Provided, ProvidedMachine, Provider, machine, provided};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

/// How many machines one statement inserts; a statement has at most 65,535 binds.
const CHUNK: usize = 5000;

/// The machines of a fleet file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    machines: Vec<ProvidedMachine>,
}

/// What is wrong with a fleet file, and where.
#[derive(Debug, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct FleetError {
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
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
                column: error.column(),
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
    /// Creates all machines of a fleet with their tag `provided`, or none.
    ///
    /// # Errors
    /// [`bmdb_model::Error::ProviderIdTaken`] or [`bmdb_model::Error::MachineExists`] for the first
    /// machine that is known already; the database's.
    pub async fn import_fleet(&mut self, fleet: &Fleet) -> Result<(), TxError> {
        for machines in fleet.machines.chunks(CHUNK) {
            provided::refuse_known(self, machines).await?;
            let ids: Vec<MachineId> = machines.iter().map(|m| m.machine_id).collect();
            machine::create(self, &ids).await?;
            provided::insert_all(self, machines).await?;
            self.made(ids);
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Fleet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct File;
        impl<'de> Visitor<'de> for File {
            type Value = Fleet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with the field `machines`")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Fleet, A::Error> {
                let mut machines: Option<Machines> = None;
                while let Some(name) = fields.next_key::<String>()? {
                    match name.as_str() {
                        "machines" if machines.is_none() => machines = Some(fields.next_value()?),
                        "machines" => return Err(A::Error::custom("machines: repeated")),
                        _ => return Err(unknown(&name, "machines")),
                    }
                }
                match machines {
                    Some(Machines(machines)) => Ok(Fleet { machines }),
                    None => Err(A::Error::custom("machines: missing")),
                }
            }
        }
        deserializer.deserialize_map(File)
    }
}

struct Machines(Vec<ProvidedMachine>);

impl<'de> Deserialize<'de> for Machines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Machines;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("machines: a list of machines")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Machines, A::Error> {
                let mut machines: Vec<ProvidedMachine> = Vec::new();
                let mut listed = Listed::default();
                while let Some(machine) = list.next_element_seed(&mut listed)? {
                    machines.push(machine);
                }
                Ok(Machines(machines))
            }
        }
        deserializer.deserialize_seq(List)
    }
}

/// The machines listed so far. A machine is checked against them while it is read, so that the
/// error carries the line of the second of two equal ones.
#[derive(Default)]
struct Listed {
    provider_ids: HashSet<(Provider, String)>,
    machine_ids: HashSet<MachineId>,
}

impl Listed {
    fn add(&mut self, machine: &ProvidedMachine) -> Result<(), String> {
        let Provided {
            provider,
            provider_id,
            ..
        } = &machine.provided;
        if !self
            .provider_ids
            .insert((provider.clone(), provider_id.clone()))
        {
            return Err(format!(
                "provider_id: {provider_id:?} of {provider} is listed twice"
            ));
        }
        if !self.machine_ids.insert(machine.machine_id) {
            return Err(format!(
                "machine_id: {} is listed twice",
                machine.machine_id
            ));
        }
        Ok(())
    }
}

const FIELDS: &str = "machine_id, provider, provider_id, ip_address, location";

impl<'de> DeserializeSeed<'de> for &mut Listed {
    type Value = ProvidedMachine;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        struct Fields<'l>(&'l mut Listed);
        impl<'de> Visitor<'de> for Fields<'_> {
            type Value = ProvidedMachine;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a machine: an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Self::Value, A::Error> {
                let mut machine_id = None;
                let mut provider = None;
                let mut provider_id = None;
                let mut ip_address = None;
                let mut location = None;
                while let Some(name) = fields.next_key::<String>()? {
                    match name.as_str() {
                        "machine_id" => set(&mut machine_id, "machine_id", &mut fields, parsed)?,
                        "provider" => set(&mut provider, "provider", &mut fields, parsed)?,
                        "provider_id" => set(&mut provider_id, "provider_id", &mut fields, id)?,
                        "ip_address" => {
                            set(&mut ip_address, "ip_address", &mut fields, parsed::<IpAddr>)?;
                        }
                        "location" => set(&mut location, "location", &mut fields, text)?,
                        _ => return Err(unknown(&name, FIELDS)),
                    }
                }
                let missing = |name| A::Error::custom(format!("{name}: missing"));
                let provider: Provider = provider.ok_or_else(|| missing("provider"))?;
                let provider_id = provider_id.ok_or_else(|| missing("provider_id"))?;
                let provided = Provided {
                    ip_address: ip_address.map(|address| address.to_string()),
                    location,
                    ..Provided::new(provider, provider_id)
                };
                let machine_id = machine_id.unwrap_or_else(MachineId::random);
                let machine = ProvidedMachine {
                    machine_id,
                    provided,
                };
                self.0.add(&machine).map_err(A::Error::custom)?;
                Ok(machine)
            }
        }
        deserializer.deserialize_map(Fields(self))
    }
}

/// Reads a field's text and what it stands for; every error starts with the field's name.
fn set<'de, A: MapAccess<'de>, T>(
    slot: &mut Option<T>,
    name: &'static str,
    fields: &mut A,
    read: impl FnOnce(String) -> Result<T, String>,
) -> Result<(), A::Error> {
    let of_field = |problem: &dyn fmt::Display| A::Error::custom(format!("{name}: {problem}"));
    if slot.is_some() {
        return Err(of_field(&"repeated"));
    }
    let value: String = fields.next_value().map_err(|error| of_field(&error))?;
    *slot = Some(read(value).map_err(|problem| of_field(&problem))?);
    Ok(())
}

fn parsed<T: std::str::FromStr<Err: fmt::Display>>(value: String) -> Result<T, String> {
    value.parse().map_err(|error| format!("{value:?}: {error}"))
}

fn id(value: String) -> Result<String, String> {
    if value.is_empty() {
        Err("must not be empty".to_owned())
    } else {
        text(value)
    }
}

fn text(value: String) -> Result<String, String> {
    match value.bytes().position(|byte| byte == 0) {
        None => Ok(value),
        Some(at) => Err(format!(
            "contains a NUL byte (at byte {at}), which cannot be stored"
        )),
    }
}

fn unknown<E: Error>(name: &str, known: &str) -> E {
    E::custom(format!("{name}: unknown field, expected {known}"))
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
