//! Fleet file parser, whose errors name the field and carry the line.

use super::Fleet;
use bmdb_model::{MachineId, Provided, ProvidedMachine, Provider};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;
use std::net::IpAddr;

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
                let mut provided = Provided::new(provider, provider_id);
                provided.ip_address = ip_address.map(|address| address.to_string());
                provided.location = location;
                let machine_id = machine_id.unwrap_or_else(MachineId::random);
                let machine = ProvidedMachine::new(machine_id, provided);
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
