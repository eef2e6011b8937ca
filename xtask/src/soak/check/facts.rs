//! What the workers' journals say, all together.

use bmdb_model::history::Outcome;
use bmdb_model::{Fence, MachineId, Process, SessionId};
use bmdb_testkit::audit::End;
use bmdb_testkit::journal::{Entry, Tags};
use std::collections::{BTreeMap, HashMap, HashSet};

/// A claim, as its worker has noted it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(super) fence: Fence,
    pub(super) machine: MachineId,
    pub(super) process: Process,
    pub(super) session: SessionId,
    pub(super) started: i64,
}

/// An interval in seconds, and when it ends.
type Backoff = (u32, i64);

/// Everything that was noted.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// In the order of the journals; a number may come twice, which is a breach.
    claims: Vec<Claim>,
    claim_of: HashMap<Fence, usize>,
    asked: HashMap<Fence, Vec<(Outcome, Tags)>>,
    acknowledged: Vec<(Fence, Outcome, Option<Backoff>)>,
    refused: Vec<(Fence, Outcome)>,
    /// Of which an end may be there that nobody was told of.
    uncertain: HashSet<Fence>,
    /// How often each error was noted, by what was tried and the error's words.
    pub(crate) errors: BTreeMap<(String, String), usize>,
    /// What is only counted.
    pub(crate) seen: BTreeMap<String, usize>,
}

impl Facts {
    /// Of these journals.
    pub(crate) fn of(journals: &[Vec<Entry>]) -> Self {
        let mut facts = Self::default();
        for entry in journals.iter().flatten() {
            facts.add(entry);
        }
        facts
    }

    fn add(&mut self, entry: &Entry) {
        match entry.clone() {
            Entry::Claimed {
                fence,
                machine,
                process,
                session,
                started,
            } => {
                self.claim_of.insert(fence, self.claims.len());
                self.claims.push(Claim {
                    fence,
                    machine,
                    process,
                    session,
                    started,
                });
            }
            Entry::Asked {
                fence,
                outcome,
                tags,
            } => self.asked.entry(fence).or_default().push((outcome, tags)),
            Entry::Acknowledged {
                fence,
                outcome,
                backoff,
            } => self.acknowledged.push((fence, outcome, backoff)),
            Entry::Refused { fence, outcome } => self.refused.push((fence, outcome)),
            Entry::Unknown { fence, .. } => {
                self.uncertain.insert(fence);
            }
            Entry::Failed { doing, error } => {
                *self.errors.entry((doing, error)).or_default() += 1;
            }
            Entry::Saw(what) => *self.seen.entry(what).or_default() += 1,
            _ => {}
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

    /// The ends that workers were told are recorded, those of noted claims.
    pub(super) fn acknowledged(&self) -> Vec<End> {
        let ends = self.acknowledged.iter();
        ends.filter_map(|(fence, outcome, _)| self.end(*fence, *outcome))
            .collect()
    }

    /// The ends that workers were told are not recorded. An earlier one that nobody was told of may be;
    /// and what is dropped after a refusal is canceled once more.
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

    /// The backoffs that workers were told of: the interval in seconds, and when it ends.
    pub(super) fn backoffs(&self) -> impl Iterator<Item = (Fence, u32, i64)> {
        let ends = self.acknowledged.iter();
        ends.filter_map(|(fence, _, backoff)| backoff.map(|(i, until)| (*fence, i, until)))
    }

    /// What was acknowledged though nobody has noted its claim.
    pub(super) fn unclaimed(&self) -> impl Iterator<Item = Fence> {
        let fences = self.acknowledged.iter().map(|(fence, ..)| *fence);
        fences.filter(|fence| self.claim(*fence).is_none())
    }

    /// How many ends of this kind were acknowledged.
    pub(crate) fn acknowledgements(&self) -> usize {
        self.acknowledged.len()
    }

    pub(crate) fn claims(&self) -> usize {
        self.claims.len()
    }

    pub(crate) fn refusals(&self) -> usize {
        self.refused.len()
    }
}
