//! What holds of any text as a fleet file.

use bmdb_core::fleet::Fleet;
use bmdb_model::ProvidedMachine;
use std::collections::HashSet;

/// Panics where it does not hold.
pub(crate) fn check(text: &str) {
    match Fleet::parse(text) {
        Ok(fleet) => check_machines(fleet.machines()),
        Err(error) => {
            let text = text.replace("\r\n", "\n\n").replace('\r', "\n");
            assert!(!error.problems().is_empty());
            for problem in error.problems() {
                // A line feed after a carriage return begins no line, so there may be fewer lines.
                let lines = text.split('\n').count();
                let longest = text.split('\n').map(str::len).max().unwrap_or(0);
                assert!((1..=lines).contains(&problem.line), "{text:?}: {error}");
                assert!(
                    (1..=longest + 3).contains(&problem.column),
                    "{text:?}: {error}"
                );
                assert!(!problem.problem.is_empty());
            }
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
