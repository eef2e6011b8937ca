//! Fields of fleet files: their names, and those of an object in their order.

use bmdb_model::text::escape;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The fields that an import takes.
pub(super) const TAKEN: [&str; 8] = [
    "machine_id",
    "provider",
    "provider_id",
    "ip_address",
    "location",
    "reservation_id",
    "status",
    "hold",
];

/// Fields of exports: the time of the answer, tags by table, and what a database finds out by itself.
pub(super) const EXPORTED: [&str; 6] = ["at", "tags", "created_at", "version", "processes", "work"];

/// The fields of an object in their order, also those that are repeated.
pub(super) struct Fields<'t>(pub(super) Vec<(String, &'t RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Whether a field belongs to a machine, and not to a list of machines.
pub(super) fn is_of_a_machine(field: &str) -> bool {
    TAKEN.contains(&column(field)) || field == "tags"
}

/// A field under the name of its column in `machine_provided` is the same one.
pub(super) fn column(field: &str) -> &str {
    match field {
        "provider_id" => field,
        "provider_ip_address"
        | "provider_location"
        | "provider_reservation_id"
        | "provider_status" => field.trim_start_matches("provider_"),
        _ => field,
    }
}

/// What a value is, for people.
pub(super) fn kind(json: &str) -> String {
    match json.as_bytes().first() {
        Some(b'{') => "an object".to_owned(),
        Some(b'[') => "a list".to_owned(),
        Some(b'"') => "a text".to_owned(),
        _ => escape(&json.chars().take(40).collect::<String>()).into_owned(),
    }
}

/// The problem of a field that is not known; one that is written in another way is named.
pub(super) fn unknown(name: &str, known: &[&str]) -> String {
    let plain = |name: &str| -> String {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|c| c.to_ascii_lowercase()).collect()
    };
    let shown: String = name.chars().take(64).collect();
    let shown = escape(&shown);
    match known.iter().find(|known| plain(known) == plain(name)) {
        Some(meant) => format!("{shown}: unknown field, write {meant}"),
        None => format!("{shown}: unknown field, expected {}", known.join(", ")),
    }
}
