//! What holds of any text as a fleet file.

use bmdb_core::fleet::Fleet;
use bmdb_model::ProvidedMachine;
use std::collections::HashSet;

/// Panics where it does not hold.
pub(crate) fn check(text: &str) {
    match Fleet::parse(text) {
        Ok(fleet) => check_machines(fleet.machines()),
        Err(error) => {
            let lines: Vec<&str> = text.split('\n').collect();
            let line = error.line.checked_sub(1).and_then(|line| lines.get(line));
            let is_within = line.is_some_and(|line| (1..=line.len() + 1).contains(&error.column));
            assert!(is_within, "{text:?}: {error}");
            assert!(!error.problem.is_empty());
        }
    }
}

fn check_machines(machines: &[ProvidedMachine]) {
    let ids: HashSet<_> = machines.iter().map(|m| m.machine_id).collect();
    assert_eq!(ids.len(), machines.len(), "a machine is there twice");
    for ProvidedMachine { provided, .. } in machines {
        let location = provided.location.as_deref();
        for text in [Some(provided.provider_id.as_str()), location]
            .into_iter()
            .flatten()
        {
            assert!(!text.contains('\0'), "{text:?} cannot be stored");
        }
        assert!(!provided.provider_id.is_empty());
    }
}
