//! Room rule: a room of bmdb-core imports only from rooms below it.

use super::finding::Finding;
use super::imports::Import;

/// The rooms from the bottom to the top. Rooms of one line do not import each other, but for the
/// files beside the rooms.
const ROOMS: &[&[&str]] = &[
    &["lock"],
    &["error"],
    &["fleet"],
    &["db"],
    &["telemetry"],
    &["session"],
    &["work"],
    &["maintenance"],
    &[FACADE],
    &["bmdb", "reader"],
    &["control_loop", "operator"],
    &["lib"],
];

/// `Session` offers what higher rooms do, each method in a line: its file counts as a room above them.
const FACADE: &str = "session/session.rs";

const SRC: &str = "bmdb-core/src/";

pub(super) fn check(imports: &[Import]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for import in imports {
        let (Some(from), Some(to)) = (import.from.strip_prefix(SRC), import.to.strip_prefix(SRC))
        else {
            continue;
        };
        let (lower, upper) = (room(from), room(to));
        let fix = match (level(lower), level(upper)) {
            (None, _) => format!("add {lower} to the rooms in xtask/src/tidy/rooms.rs"),
            (Some(from), Some(to)) if from < to || (from == to && lower != upper) => format!(
                "{lower} must not use {} of {upper}: move it to a lower room, or pass it in",
                import.name
            ),
            _ => continue,
        };
        let rule = "rooms import downwards";
        findings.push(Finding::new(&import.from, import.line, rule, fix));
    }
    findings
}

/// The room that a file stands in; a file beside the rooms is one of its own.
fn room(file: &str) -> &str {
    if file == FACADE {
        return FACADE;
    }
    let first = file.split('/').next().unwrap_or(file);
    first.strip_suffix(".rs").unwrap_or(first)
}

fn level(room: &str) -> Option<usize> {
    ROOMS.iter().position(|rooms| rooms.contains(&room))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(from: &str, to: &str) -> usize {
        let path = |file| format!("{SRC}{file}");
        let import = Import {
            from: path(from),
            line: 1,
            to: path(to),
            name: "X".to_owned(),
        };
        check(&[import]).len()
    }

    #[test]
    fn an_import_from_a_higher_room_is_found() {
        assert_eq!(found("db/pool.rs", "session/lease.rs"), 1);
        assert_eq!(found("work/poller/poll.rs", "control_loop/rate.rs"), 1);
        assert_eq!(found("operator/values.rs", "control_loop/runner.rs"), 1);
        assert_eq!(found("error.rs", "db/url.rs"), 1);
        assert_eq!(found("session/close.rs", "session/session.rs"), 1);
        assert_eq!(found("work/claim.rs", "session/session.rs"), 1);
    }

    #[test]
    fn a_room_without_a_place_in_the_order_is_found() {
        assert_eq!(found("power/redfish.rs", "db/pool.rs"), 1);
    }

    #[test]
    fn imports_from_lower_rooms_and_within_one_are_not_found() {
        assert_eq!(found("work/claim.rs", "session/lease.rs"), 0);
        assert_eq!(found("work/claim.rs", "work/work.rs"), 0);
        assert_eq!(found("bmdb.rs", "maintenance/janitor.rs"), 0);
        assert_eq!(found("session/session.rs", "work/claim.rs"), 0);
    }
}
