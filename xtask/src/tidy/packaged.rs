//! Package rule: a published crate includes only files of its own folder.

use super::finding::Finding;
use super::tokens::{self, Kind};

/// Macros that take a path relative to the source file.
const TAKING: [&str; 3] = ["include_str", "include_bytes", "include"];

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let Some((folder, file)) = path.split_once("/src/") else {
        return Vec::new();
    };
    if !folder.starts_with("bmdb-") {
        return Vec::new();
    }
    // `src` and the folders within it.
    let depth = file.split('/').count();
    let tokens = tokens::of(text);
    let included = tokens.windows(4).filter_map(|part| {
        let is_macro = TAKING.iter().any(|name| part[0].is(name)) && part[1].is_punct('!');
        match &part[3].kind {
            Kind::Text(included) if is_macro => Some((part[0].line, included)),
            _ => None,
        }
    });
    let outside = included.filter(|(_, included)| {
        let up = included.split('/').take_while(|part| *part == "..").count();
        up > depth
    });
    outside
        .map(|(line, included)| {
            let fix =
                format!("link {included} into the crate's folder: a package contains nothing else");
            Finding::new(path, line, "crates are whole", fix)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::check;

    fn lines(path: &str, text: &str) -> Vec<usize> {
        check(path, text)
            .iter()
            .map(|finding| finding.line)
            .collect()
    }

    #[test]
    fn what_is_included_from_outside_of_the_crate_is_found() {
        let text = "//! A.\nconst A: &str = include_str!(\"../../README.md\");";
        assert_eq!(lines("bmdb-core/src/lib.rs", text), [2]);
        let text = "const A: &[u8] = include_bytes!(\"../../../x\");";
        assert_eq!(lines("bmdb-web/src/a/b.rs", text), [1]);
    }

    #[test]
    fn what_is_included_from_within_it_is_not() {
        let text = "const A: &str = include_str!(\"../migrations/a.sql\");";
        assert!(lines("bmdb-model/src/lib.rs", text).is_empty());
        let text = "const A: &str = include_str!(\"../sql/a.sql\");";
        assert!(lines("bmdb-model/src/migration/change.rs", text).is_empty());
        let text = "const A: &str = include_str!(\"../../x\");";
        assert!(lines("xtask/src/main.rs", text).is_empty());
        assert!(lines("bmdb-core/tests/it/main.rs", text).is_empty());
    }
}
