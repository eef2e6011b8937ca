//! Link rule: the targets of links within the repository exist.

use super::files::TextFile;
use super::finding::Finding;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// `root` is the folder of files that are not text, such as pictures.
pub(super) fn check(root: &Path, files: &[TextFile]) -> Vec<Finding> {
    let documents = files
        .iter()
        .filter(|(path, _)| path.ends_with(".md") && !root.join(path).is_symlink());
    let anchors: BTreeMap<&str, BTreeSet<String>> = documents
        .clone()
        .map(|(path, text)| (path.as_str(), anchors(text)))
        .collect();
    let mut findings = Vec::new();
    for (path, text) in documents {
        for (line, link) in links(text) {
            let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if target.is_empty() {
                Some(path.clone())
            } else {
                resolve(path, target)
            };
            let broken = match target {
                None => Some("it leaves the repository"),
                Some(target) => {
                    let known = anchors.get(target.as_str());
                    if known.is_none() && !root.join(&target).exists() {
                        Some("nothing is there")
                    } else {
                        let is_known = known.is_none_or(|known| known.contains(anchor));
                        (!anchor.is_empty() && !is_known).then_some("no heading has that anchor")
                    }
                }
            };
            if let Some(why) = broken {
                let fix = format!("correct the link to {link}: {why}");
                findings.push(Finding::new(path, line, "links lead somewhere", fix));
            }
        }
    }
    findings
}

/// The links of a document to files, with their lines. Links in code do not count.
fn links(text: &str) -> Vec<(usize, &str)> {
    let mut links = Vec::new();
    for (at, line) in prose(text) {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once("](") {
            // An odd number of backquotes before the link: it is in a code span.
            let is_code = before.matches('`').count() % 2 == 1;
            let Some((link, others)) = after.split_once(')') else {
                break;
            };
            let leaves = link.contains("://") || link.starts_with("mailto:");
            if !is_code && !leaves {
                links.push((at, link));
            }
            rest = others;
        }
    }
    links
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).filter_map(|(_, line)| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len()).then(|| heading.strip_prefix(' '))?
    });
    headings.map(anchor).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    });
    kept.flat_map(char::to_lowercase).collect()
}

/// The lines outside of fenced blocks, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            return None;
        }
        (!fenced).then_some((at + 1, line))
    })
}

/// A path relative to the workspace's folder; `None` if it leads out of it.
fn resolve(from: &str, link: &str) -> Option<String> {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in link.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::{anchor, check};
    use std::path::Path;

    /// Checks documents called `README.md` and `docs/a.md` in this crate's folder.
    fn findings(readme: &str, other: &str) -> Vec<(String, usize)> {
        let files = [("README.md", readme), ("docs/a.md", other)];
        let files = files.map(|(path, text)| (path.to_owned(), text.to_owned()));
        let found = check(Path::new(env!("CARGO_MANIFEST_DIR")), &files);
        found.into_iter().map(|f| (f.path, f.line)).collect()
    }

    #[test]
    fn a_link_to_nothing_is_found_with_its_line() {
        assert_eq!(
            findings("a\n[b](docs/no.md)", ""),
            [("README.md".into(), 2)]
        );
        assert_eq!(findings("", "[b](../no)"), [("docs/a.md".into(), 1)]);
        assert_eq!(
            findings("![b](../../no.png)", ""),
            [("README.md".into(), 1)]
        );
    }

    #[test]
    fn links_to_what_is_there_and_to_elsewhere_are_not() {
        assert!(
            findings(
                "[a](src), [b](Cargo.toml#L1)\n[c](https://x.y/z)",
                "[d](../src)"
            )
            .is_empty()
        );
    }

    #[test]
    fn links_in_code_are_not() {
        assert!(findings("`[a](no)`\n```text\n[a](no)\n```\n", "").is_empty());
    }

    #[test]
    fn anchors_are_those_of_the_headings() {
        assert_eq!(
            anchor(" What `bmdb` does, and doesn't!"),
            "what-bmdb-does-and-doesnt"
        );
        assert!(findings("# One thing\n[a](#one-thing)", "").is_empty());
        assert_eq!(findings("# One\n[a](#two)", ""), [("README.md".into(), 2)]);
    }
}
