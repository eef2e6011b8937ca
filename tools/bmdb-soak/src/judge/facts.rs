//! Facts: what the journals of all workers say.

use crate::journal::{Backoff, Claim, Entry, Step, Tags};
use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId};
use bmdb_testkit::audit::End;
use std::collections::{BTreeMap, HashMap, HashSet};

#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// In the order of the journals. A fence that comes twice is a breach.
    claims: Vec<Claim>,
    claim_of: HashMap<Fence, usize>,
    asked: HashMap<Fence, Vec<(Outcome, Tags)>>,
    acknowledged: Vec<(Fence, Outcome, Option<Backoff>)>,
    refused: Vec<(Fence, Outcome)>,
    /// Fences with an end of unknown outcome.
    uncertain: HashSet<Fence>,
    /// What workers themselves noted as wrong.
    pub(crate) wrong: Vec<String>,
    /// How often each error was noted, by what was tried and its text.
    pub(crate) errors: BTreeMap<(String, String), usize>,
    /// What is only counted.
    pub(crate) seen: BTreeMap<String, usize>,
}

impl Facts {
    pub(crate) fn of(journals: &[Vec<Entry>]) -> Self {
        let mut facts = Self::default();
        for entry in journals.iter().flatten() {
            facts.add(entry.clone());
        }
        facts
    }

    fn add(&mut self, entry: Entry) {
        match entry {
            Entry::Claimed(claim) => {
                self.claim_of.insert(claim.fence, self.claims.len());
                self.claims.push(claim);
            }
            Entry::End(fence, outcome, Step::Asked(tags)) => {
                self.asked.entry(fence).or_default().push((outcome, tags));
            }
            Entry::End(fence, outcome, Step::Acknowledged(backoff)) => {
                self.acknowledged.push((fence, outcome, backoff));
            }
            Entry::End(fence, outcome, Step::Refused) => self.refused.push((fence, outcome)),
            Entry::End(fence, _, Step::Unknown) => {
                self.uncertain.insert(fence);
            }
            Entry::Failed { doing, error } => {
                *self.errors.entry((doing, error)).or_default() += 1;
            }
            Entry::Wrong(what) => self.wrong.push(what),
            Entry::Saw(what) => *self.seen.entry(what).or_default() += 1,
        }
    }

    /// The claims that workers got.
    pub(super) fn claimed(&self) -> Vec<(MachineId, Fence)> {
        let claims = self.claims.iter();
        claims.map(|claim| (claim.machine, claim.fence)).collect()
    }

    pub(super) fn claim(&self, fence: Fence) -> Option<&Claim> {
        self.claim_of.get(&fence).map(|at| &self.claims[*at])
    }

    pub(super) fn asked(&self, fence: Fence) -> &[(Outcome, Tags)] {
        self.asked.get(&fence).map_or(&[], Vec::as_slice)
    }

    /// The acknowledged ends of noted claims.
    pub(super) fn acknowledged(&self) -> Vec<End> {
        let ends = self.acknowledged.iter();
        ends.filter_map(|(fence, outcome, _)| self.end(*fence, *outcome))
            .collect()
    }

    /// The refused ends that must not be recorded. An earlier end of unknown outcome may be, and work
    /// that is dropped after a refusal is canceled once more.
    pub(super) fn refused(&self) -> Vec<End> {
        let ends = self.refused.iter();
        ends.filter(|(fence, outcome)| {
            *outcome != Outcome::Canceled && !self.uncertain.contains(fence)
        })
        .filter_map(|(fence, outcome)| self.end(*fence, *outcome))
        .collect()
    }

    fn end(&self, fence: Fence, outcome: Outcome) -> Option<End> {
        let claim = self.claim(fence)?;
        Some((claim.machine, fence, outcome))
    }

    /// The backoffs of acknowledged failures.
    pub(super) fn backoffs(&self) -> impl Iterator<Item = (Fence, Backoff)> {
        let ends = self.acknowledged.iter();
        ends.filter_map(|(fence, _, backoff)| backoff.map(|backoff| (*fence, backoff)))
    }

    /// The acknowledged ends of claims that were not noted.
    pub(super) fn unclaimed(&self) -> impl Iterator<Item = Fence> {
        let fences = self.acknowledged.iter().map(|(fence, ..)| *fence);
        fences.filter(|fence| self.claim(*fence).is_none())
    }

    /// How many claims and answers were noted.
    pub(crate) fn counts(&self) -> [(&'static str, usize); 5] {
        [
            ("claims noted by workers", self.claims.len()),
            ("ends acknowledged", self.acknowledged.len()),
            ("ends refused", self.refused.len()),
            ("ends of unknown outcome", self.uncertain.len()),
            (
                "errors that workers went on after",
                self.errors.values().sum(),
            ),
        ]
    }
}
