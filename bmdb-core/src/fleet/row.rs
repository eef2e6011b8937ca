//! One machine of a fleet file: the fields that are taken, and those that an export has besides.

use super::field::{EXPORTED, Fields, TAKEN, column, kind, unknown};
use super::parse::Reading;
use bmdb_model::text::escape;
use bmdb_model::{MachineId, Provided, Provider, ProviderStatus};
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt::Display;
use std::net::IpAddr;
use std::str::FromStr;

/// What a machine's fields say.
#[derive(Default)]
struct Row<'t> {
    seen: HashSet<&'static str>,
    id: Option<MachineId>,
    provider: Option<Provider>,
    provider_id: Option<String>,
    ip_address: Option<String>,
    location: Option<String>,
    reservation_id: Option<String>,
    status: Option<ProviderStatus>,
    hold: Option<String>,
    /// Whether it says that there is no provider: a forgotten one is a mistake.
    says_none: bool,
    /// Where a machine that is listed twice is reported.
    at: &'t str,
    has_problems: bool,
}

impl<'t> Reading<'t> {
    /// Reads a machine; all its problems are noted.
    pub(super) fn machine(&mut self, json: &'t str, fields: Vec<(String, &'t RawValue)>) {
        let mut row = Row {
            at: json,
            ..Row::default()
        };
        for (name, value) in fields {
            self.field(&mut row, &name, value.get());
        }
        let has_no_provider = row.says_none && row.provider.is_none() && row.provider_id.is_none();
        if let (true, Some(id), false) = (has_no_provider, row.id, row.has_problems) {
            let added = self.add_without_provider(row.at, id);
            return self.hold(added, row.hold);
        }
        for (name, is_missing) in [
            ("provider", row.provider.is_none()),
            ("provider_id", row.provider_id.is_none()),
        ] {
            // What is there and malformed has its own problem.
            let is_malformed = row.has_problems && row.seen.contains(name);
            if is_missing && !is_malformed {
                self.fail(&mut row, json, &format!("{name}: missing"));
            }
        }
        let (Some(provider), Some(provider_id), false) =
            (row.provider, row.provider_id, row.has_problems)
        else {
            return;
        };
        let mut provided = Provided::new(provider, provider_id);
        provided.ip_address = row.ip_address;
        provided.location = row.location;
        provided.reservation_id = row.reservation_id;
        provided.status = row.status;
        let added = self.add(row.at, row.id, provided);
        self.hold(added, row.hold);
    }

    fn hold(&mut self, machine: Option<MachineId>, reason: Option<String>) {
        if let Some((machine, reason)) = machine.zip(reason) {
            self.add_hold(machine, reason);
        }
    }

    fn field(&mut self, row: &mut Row<'t>, name: &str, json: &'t str) {
        let Some(field) = TAKEN.into_iter().find(|taken| *taken == column(name)) else {
            return match name {
                "tags" => self.tags(row, json),
                "at" => {}
                _ if EXPORTED.contains(&name) => {
                    if !["null", "[]", "{}"].contains(&json) {
                        self.leave_out(name.to_owned());
                    }
                }
                _ => self.fail(row, json, &unknown(name, &TAKEN)),
            };
        };
        if !row.seen.insert(field) {
            return self.fail(row, json, &format!("{field}: repeated"));
        }
        match field {
            "hold" => row.hold = self.reason(row, json),
            "machine_id" => row.id = self.parsed(row, field, json),
            "provider" => {
                row.says_none |= json == "null";
                row.provider = self.parsed(row, field, json);
            }
            "status" => row.status = self.parsed(row, field, json),
            "ip_address" => {
                let address: Option<IpAddr> = self.parsed(row, field, json);
                row.ip_address = address.map(|address| address.to_string());
            }
            "location" => row.location = self.optional(row, field, json),
            "reservation_id" => row.reservation_id = self.optional(row, field, json),
            _ => {
                row.at = json;
                row.provider_id = self.text(row, field, json);
                if row
                    .provider_id
                    .as_deref()
                    .is_some_and(|id| id.trim().is_empty())
                {
                    row.provider_id = None;
                    self.fail(row, json, "provider_id: must not be empty");
                }
            }
        }
    }

    /// The tags of `bmdb machine show`, by table.
    fn tags(&mut self, row: &mut Row<'t>, json: &'t str) {
        if json == "null" {
            return;
        }
        let Some(tables) = self.object_of(row, "tags", json) else {
            return;
        };
        row.says_none = true;
        for (table, value) in tables {
            let json = value.get();
            match table.as_str() {
                "machine_provided" => {
                    let fields = self.object_of(row, "tags.machine_provided", json);
                    for (name, value) in fields.unwrap_or_default() {
                        self.field(row, &name, value.get());
                    }
                }
                // The answer has it as `hold` too.
                "machine_hold" if row.seen.contains("hold") => {}
                "machine_hold" => self.field(row, "hold", json),
                _ if json == "null" => {}
                _ => self.leave_out(format!("tags.{}", escape(&table))),
            }
        }
    }

    fn object_of(
        &mut self,
        row: &mut Row<'t>,
        name: &str,
        json: &'t str,
    ) -> Option<Vec<(String, &'t RawValue)>> {
        if !json.starts_with('{') {
            let problem = format!("{name}: expected an object, not {}", kind(json));
            self.fail(row, json, &problem);
            return None;
        }
        self.read::<Fields<'t>>(json).map(|Fields(fields)| fields)
    }

    /// The reason of a hold: a text, or an object that has it. Since when is not taken: the hold of this
    /// database begins now.
    fn reason(&mut self, row: &mut Row<'t>, json: &'t str) -> Option<String> {
        if !json.starts_with('{') {
            return self.optional(row, "hold", json);
        }
        let mut reason = None;
        for (name, value) in self.object_of(row, "hold", json)? {
            match name.as_str() {
                "reason" => reason = self.optional(row, "hold.reason", value.get()),
                "since" => {}
                _ => self.fail(row, value.get(), &unknown(&name, &["reason", "since"])),
            }
        }
        if reason.is_none() && !row.has_problems {
            self.fail(row, json, "hold.reason: missing");
        }
        reason
    }

    fn parsed<T: FromStr<Err: Display>>(
        &mut self,
        row: &mut Row<'t>,
        name: &str,
        json: &'t str,
    ) -> Option<T> {
        let text = self.optional(row, name, json)?;
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.fail(row, json, &format!("{name}: {text:?}: {error}"));
                None
            }
        }
    }

    /// A text; a blank one is like none.
    fn optional(&mut self, row: &mut Row<'t>, name: &str, json: &'t str) -> Option<String> {
        self.text(row, name, json)
            .filter(|text| !text.trim().is_empty())
    }

    /// A text, or a whole number as its digits; `None` for null.
    fn text(&mut self, row: &mut Row<'t>, name: &str, json: &'t str) -> Option<String> {
        let text = match json.as_bytes().first() {
            Some(b'n') => return None,
            Some(b'"') => match serde_json::from_str::<String>(json) {
                Ok(text) => text,
                Err(_) => {
                    self.fail(
                        row,
                        json,
                        &format!("{name}: an escape in it is no character"),
                    );
                    return None;
                }
            },
            Some(b'0'..=b'9') if json.bytes().all(|byte| byte.is_ascii_digit()) => json.to_owned(),
            _ => {
                let problem = format!("{name}: expected a text in quotes, not {}", kind(json));
                self.fail(row, json, &problem);
                return None;
            }
        };
        if let Some(at) = text.bytes().position(|byte| byte == 0) {
            let problem =
                format!("{name}: contains a NUL byte (at byte {at}), which cannot be stored");
            self.fail(row, json, &problem);
            return None;
        }
        Some(text)
    }

    fn fail(&mut self, row: &mut Row<'t>, json: &'t str, problem: &str) {
        row.has_problems = true;
        self.problem(json, problem.to_owned());
    }
}
