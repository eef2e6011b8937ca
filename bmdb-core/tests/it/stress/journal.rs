//! What the workers of a process know to be done: noted line by line, so that it outlives them.

use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId};
use bmdb_testkit::audit::End;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Mutex;

/// An append-only file of a process.
pub(super) struct Journal {
    file: Mutex<File>,
}

impl Journal {
    pub(super) fn create(path: &Path) -> Self {
        let file = Mutex::new(File::create_new(path).unwrap());
        Self { file }
    }

    /// A claim was answered.
    pub(super) fn claimed(&self, machine: MachineId, fence: Fence) {
        self.note(&format!("claimed {machine} {fence}"));
    }

    /// An end was acknowledged.
    pub(super) fn ended(&self, (machine, fence, outcome): End) {
        self.note(&format!("ended {machine} {fence} {outcome}"));
    }

    /// An end was refused.
    pub(super) fn refused(&self, (machine, fence, outcome): End) {
        self.note(&format!("refused {machine} {fence} {outcome}"));
    }

    /// A finish was acknowledged whose closure had written tags.
    pub(super) fn tagged(&self, machine: MachineId, fence: Fence) {
        self.note(&format!("tagged {machine} {fence}"));
    }

    /// Something happened that is only counted.
    pub(super) fn saw(&self, what: &str) {
        self.note(&format!("saw {what}"));
    }

    /// In one write: a process that is killed leaves whole lines.
    fn note(&self, line: &str) {
        let line = format!("{line}\n");
        self.file
            .lock()
            .unwrap()
            .write_all(line.as_bytes())
            .unwrap();
    }
}

/// What was noted by all.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) claimed: Vec<(MachineId, Fence)>,
    pub(super) acknowledged: Vec<End>,
    pub(super) refused: Vec<End>,
    pub(super) tagged: Vec<(MachineId, Fence)>,
    pub(super) seen: BTreeMap<String, usize>,
}

impl Facts {
    /// Adds what one process noted; whether it came to its end.
    pub(super) fn read(&mut self, path: &Path) -> bool {
        let text = fs::read_to_string(path).unwrap_or_default();
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["claimed", machine, fence] => self.claimed.push(claim(machine, fence)),
                ["tagged", machine, fence] => self.tagged.push(claim(machine, fence)),
                ["ended", machine, fence, as_what] => {
                    self.acknowledged.push(end(machine, fence, as_what));
                }
                ["refused", machine, fence, as_what] => {
                    self.refused.push(end(machine, fence, as_what));
                }
                ["saw", ..] => {
                    let what = words[1..].join(" ");
                    *self.seen.entry(what).or_default() += 1;
                }
                _ => panic!("{line:?} in {}", path.display()),
            }
        }
        text.ends_with("saw the end\n")
    }
}

fn claim(machine: &str, fence: &str) -> (MachineId, Fence) {
    (machine.parse().unwrap(), Fence::new(fence.parse().unwrap()))
}

fn end(machine: &str, fence: &str, as_what: &str) -> End {
    let outcomes = [Outcome::Finished, Outcome::Failed, Outcome::Canceled];
    let outcome = outcomes.into_iter().find(|o| o.as_str() == as_what);
    let (machine, fence) = claim(machine, fence);
    (machine, fence, outcome.unwrap())
}
