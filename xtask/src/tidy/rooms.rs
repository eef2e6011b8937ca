//! Room rule: a room of bmdb-core imports only from rooms below it.

use super::files::TextFile;
use super::finding::Finding;
use super::imports::Import;

/// The rooms from the bottom to the top. Rooms of one line do not import each other.
const ROOMS: &[&[&str]] = &[
    &["lock"],
    &["error"],
    &["fleet"],
    &["db"],
    &["telemetry"],
    &["session"],
    &["work"],
    &["maintenance"],
    &[SESSION],
    &["bmdb", "reader"],
    &["control_loop", "operator"],
    &["lib"],
];

/// Stands above its room: a `Session` offers what claims, ends and transactions do, each method in a line.
const SESSION: &str = "session/session.rs";

const SRC: &str = "bmdb-core/src/";

const RULE: &str = "rooms import downwards";

pub(super) fn check(files: &[TextFile], imports: &[Import]) -> Vec<Finding> {
    let outside = files.iter().filter_map(|(path, _)| {
        let file = path.strip_prefix(SRC)?;
        if !file.ends_with(".rs") || level(room(file)).is_some() {
            return None;
        }
        let fix =
            "it stands in no room: move it into one, or add its room to xtask/src/tidy/rooms.rs";
        Some(Finding::new(path, 1, RULE, fix))
    });
    outside
        .chain(imports.iter().filter_map(check_import))
        .collect()
}

fn check_import(import: &Import) -> Option<Finding> {
    let (from, to) = (import.from.strip_prefix(SRC)?, import.to.strip_prefix(SRC)?);
    let (lower, upper) = (room(from), room(to));
    if lower == upper || level(lower)? > level(upper)? {
        return None;
    }
    let fix = format!(
        "{lower} must not use {} of {upper}: move it to a lower room, or pass it in",
        import.name
    );
    Some(Finding::new(&import.from, import.line, RULE, fix))
}

/// The room that a file stands in; a file beside the rooms is one of its own.
fn room(file: &str) -> &str {
    if file == SESSION {
        return SESSION;
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
        check(&[], &[import]).len()
    }

    #[test]
    fn an_import_from_a_higher_room_is_found() {
        assert_eq!(found("db/pool.rs", "session/lease.rs"), 1);
        assert_eq!(found("work/poller/poll.rs", "control_loop/rate.rs"), 1);
        assert_eq!(found("operator/values.rs", "control_loop/runner.rs"), 1);
        assert_eq!(found("error.rs", "db/url.rs"), 1);
        assert_eq!(found("fleet/import.rs", "db/tx.rs"), 1);
        for room in [
            "session/lease.rs",
            "work/claim.rs",
            "maintenance/janitor.rs",
        ] {
            assert_eq!(found(room, "session/session.rs"), 1, "{room}");
        }
        assert_eq!(found("session/session.rs", "operator/operator.rs"), 1);
    }

    #[test]
    fn a_file_in_no_room_is_found() {
        let file = |path: &str| (format!("{SRC}{path}"), String::new());
        let files = ["cellar.rs", "cellar/wine.rs", "db/pool.rs", "guide.md"].map(file);
        let paths: Vec<String> = check(&files, &[]).into_iter().map(|f| f.path).collect();
        assert_eq!(paths, [&files[0].0, &files[1].0].map(String::clone));
    }

    #[test]
    fn imports_from_lower_rooms_and_within_one_are_not_found() {
        assert_eq!(found("work/claim.rs", "session/lease.rs"), 0);
        assert_eq!(found("work/claim.rs", "work/work.rs"), 0);
        assert_eq!(found("bmdb.rs", "maintenance/janitor.rs"), 0);
        assert_eq!(found("session/session.rs", "work/claim.rs"), 0);
        assert_eq!(found("session/session.rs", "session/lease.rs"), 0);
        assert_eq!(found("db/tx.rs", "fleet.rs"), 0);
    }
}
