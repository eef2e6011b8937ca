//! The machines of a fleet file, and the result of their import.

use bmdb_model::{MachineId, ProvidedMachine};

/// The machines of a fleet file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fleet {
    pub(super) machines: Vec<ProvidedMachine>,
    pub(super) without_provider: Vec<MachineId>,
    pub(super) holds: Vec<(MachineId, String)>,
    pub(super) notes: Vec<String>,
}

/// The result of importing a fleet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Imported {
    /// The machines that were created, in the order of the file; those without a provider come last.
    pub created: Vec<MachineId>,
    /// The machines that existed already, under their existing ids.
    pub skipped: Vec<ProvidedMachine>,
    /// The machines without a provider that existed already.
    pub skipped_without_provider: Vec<MachineId>,
}

impl Fleet {
    /// The machines with a provider, in the order of the file.
    #[must_use]
    pub fn machines(&self) -> &[ProvidedMachine] {
        &self.machines
    }

    /// The machines that the file says have no provider, in the order of the file.
    #[must_use]
    pub fn without_provider(&self) -> &[MachineId] {
        &self.without_provider
    }

    /// The machines that are put on hold when they are created, and the reasons.
    #[must_use]
    pub fn holds(&self) -> &[(MachineId, String)] {
        &self.holds
    }

    /// What the file says and an import leaves out, in sentences for people.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The same with only the first `count` machines that have a provider.
    #[must_use]
    pub fn first(mut self, count: usize) -> Self {
        self.machines.truncate(count);
        self.without_provider.clear();
        let machines = &self.machines;
        self.holds
            .retain(|(id, _)| machines.iter().any(|machine| machine.machine_id == *id));
        self
    }
}
