//! Fleet file parser: finds the machines in the documents of a file, and all problems with their lines.

use super::error::{FleetError, FleetProblem};
use super::field::{Fields, is_of_a_machine, kind, unknown};
use super::machines::Fleet;
use super::position::Positions;
use bmdb_model::{MachineId, Provided, ProvidedMachine, Provider};
use serde::de::Deserialize;
use serde_json::value::RawValue;
use std::collections::{BTreeMap, HashSet};

/// How many problems are listed.
const LISTED: usize = 20;

/// How deep lists may be nested: a list of answers, each with a list of machines.
const DEEPEST: usize = 2;

/// What is found while a file is read.
pub(super) struct Reading<'t> {
    positions: Positions<'t>,
    fleet: Fleet,
    problems: Vec<FleetProblem>,
    further: usize,
    listed: Listed,
    /// Fields that are left out, and of how many machines.
    left_out: BTreeMap<String, usize>,
    /// Whether the last answer says that its list goes on.
    goes_on: bool,
}

/// The machines that were listed so far.
#[derive(Default)]
struct Listed {
    provider_ids: HashSet<(Provider, String)>,
    machine_ids: HashSet<MachineId>,
}

pub(super) fn fleet(text: &str) -> Result<Fleet, FleetError> {
    let mut reading = Reading {
        positions: Positions::of(text),
        fleet: Fleet::default(),
        problems: Vec::new(),
        further: 0,
        listed: Listed::default(),
        left_out: BTreeMap::new(),
        goes_on: false,
    };
    reading.documents(text);
    reading.finish()
}

impl<'t> Reading<'t> {
    fn documents(&mut self, text: &'t str) {
        let json = text.trim_ascii_start();
        if !json.starts_with(['{', '[']) {
            let problem = match json.is_empty() {
                true => {
                    "empty: expected {\"machines\": [{\"provider\": …, \"provider_id\": …}, …]}"
                }
                false => {
                    "not JSON: expected {\"machines\": [{\"provider\": …, \"provider_id\": …}, …]}"
                }
            };
            return self.problem(json, problem.to_owned());
        }
        let documents = serde_json::Deserializer::from_str(text).into_iter::<&'t RawValue>();
        for document in documents {
            match document {
                Ok(document) => self.document(document, 0),
                Err(error) => return self.syntax(&error),
            }
        }
    }

    /// One document, or an element of a list of documents.
    fn document(&mut self, document: &'t RawValue, depth: usize) {
        let json = document.get();
        self.goes_on = false;
        match json.as_bytes().first() {
            Some(b'{') => {
                if let Some(Fields(fields)) = self.read(json) {
                    self.object(json, fields);
                }
            }
            Some(b'[') if depth < DEEPEST => {
                for element in self.read::<Vec<&RawValue>>(json).unwrap_or_default() {
                    self.document(element, depth + 1);
                }
            }
            _ => self.problem(
                json,
                format!(
                    "expected an object with the field `machines`, or a machine, not {}",
                    kind(json)
                ),
            ),
        }
    }

    fn object(&mut self, json: &'t str, fields: Vec<(String, &'t RawValue)>) {
        let list = |(name, _): &&(String, &RawValue)| name == "machines" || name == "items";
        let Some((list, _)) = fields.iter().find(list).cloned() else {
            if fields.iter().any(|(name, _)| is_of_a_machine(name)) {
                return self.machine(json, fields);
            }
            if fields.is_empty() {
                self.problem(json, "machines: missing".to_owned());
            }
            for (name, value) in fields {
                self.problem(value.get(), unknown(&name, &["machines"]));
            }
            return;
        };
        let mut is_read = false;
        for (name, value) in fields {
            let json = value.get();
            match name.as_str() {
                _ if name == list && is_read => self.problem(json, format!("{list}: repeated")),
                _ if name == list => {
                    is_read = true;
                    self.machines(&list, json);
                }
                "at" if list == "items" => {}
                "next" if list == "items" => self.goes_on = json != "null",
                _ => self.problem(json, unknown(&name, &["machines"])),
            }
        }
    }

    fn machines(&mut self, list: &str, json: &'t str) {
        if !json.starts_with('[') {
            let problem = format!("{list}: expected a list of machines, not {}", kind(json));
            return self.problem(json, problem);
        }
        for machine in self.read::<Vec<&RawValue>>(json).unwrap_or_default() {
            let json = machine.get();
            if !json.starts_with('{') {
                self.problem(
                    json,
                    format!("expected a machine: an object, not {}", kind(json)),
                );
            } else if let Some(Fields(fields)) = self.read(json) {
                self.machine(json, fields);
            }
        }
    }

    /// Adds a machine with a provider, unless it is listed already.
    pub(super) fn add(
        &mut self,
        at: &'t str,
        id: Option<MachineId>,
        provided: Provided,
    ) -> Option<MachineId> {
        let id = id.unwrap_or_else(MachineId::random);
        let (provider, provider_id) = (provided.provider.clone(), provided.provider_id.clone());
        let twice = format!("provider_id: {provider_id:?} of {provider} is listed twice");
        if !self.listed.provider_ids.insert((provider, provider_id)) {
            self.problem(at, twice);
            return None;
        }
        self.add_id(at, id)?;
        self.fleet.machines.push(ProvidedMachine::new(id, provided));
        Some(id)
    }

    /// Adds a machine without a provider, unless it is listed already.
    pub(super) fn add_without_provider(&mut self, at: &'t str, id: MachineId) -> Option<MachineId> {
        self.add_id(at, id)?;
        self.fleet.without_provider.push(id);
        Some(id)
    }

    fn add_id(&mut self, at: &'t str, id: MachineId) -> Option<MachineId> {
        if self.listed.machine_ids.insert(id) {
            return Some(id);
        }
        self.problem(at, format!("machine_id: {id} is listed twice"));
        None
    }

    pub(super) fn add_hold(&mut self, machine: MachineId, reason: String) {
        self.fleet.holds.push((machine, reason));
    }

    pub(super) fn leave_out(&mut self, field: String) {
        *self.left_out.entry(field).or_default() += 1;
    }

    /// Reads a part of the text; a problem of it is noted.
    pub(super) fn read<T: Deserialize<'t>>(&mut self, json: &'t str) -> Option<T> {
        match serde_json::from_str(json) {
            Ok(read) => Some(read),
            Err(error) => {
                self.problem(json, message(&error));
                None
            }
        }
    }

    pub(super) fn problem(&mut self, at: &'t str, problem: String) {
        let problem = self.positions.problem(self.positions.offset(at), problem);
        self.note(problem);
    }

    fn syntax(&mut self, error: &serde_json::Error) {
        let (line, column) = (error.line(), error.column());
        let before = self.positions.before(line, column);
        let problem = match before.trim_ascii_end().ends_with(',') {
            true => "trailing comma, or a value is missing".to_owned(),
            false => message(error),
        };
        let problem = format!("{problem}; what follows was not checked");
        let problem = self.positions.syntax(line, column, problem);
        self.note(problem);
    }

    fn note(&mut self, problem: FleetProblem) {
        match self.problems.len() {
            ..LISTED => self.problems.push(problem),
            _ => self.further += 1,
        }
    }

    fn finish(mut self) -> Result<Fleet, FleetError> {
        if !self.problems.is_empty() {
            return Err(FleetError {
                problems: self.problems,
                further: self.further,
            });
        }
        let left_out = self.left_out.iter().map(|(field, machines)| {
            let plural = if *machines == 1 { "" } else { "s" };
            format!("{field} (of {machines} machine{plural})")
        });
        let left_out: Vec<String> = left_out.collect();
        if !left_out.is_empty() {
            self.fleet
                .notes
                .push(format!("not imported: {}", left_out.join(", ")));
        }
        if self.goes_on {
            let note = "the last page of this list says that there are more: `bmdb machine list --all --json` \
                        lists all machines";
            self.fleet.notes.push(note.to_owned());
        }
        Ok(self.fleet)
    }
}

/// The message of an error, without the position that it counts from the part that was read.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}
