//! Comparison of a program's output with a document, where `…` matches what differs from run to run.

/// Matches any text within a line and, alone on a line, any lines.
const ANY: &str = "…";

/// Whether the printed text matches the expected text from its first line to its last.
///
/// Colours and empty lines at both ends are ignored. Any white space counts as one space, because the width
/// of a column may differ.
pub(super) fn matches(expected: &str, printed: &str) -> bool {
    let expected: Vec<String> = lines(expected);
    let printed: Vec<String> = lines(printed);
    lines_match(&expected, &printed)
}

fn lines(text: &str) -> Vec<String> {
    let plain = without_escapes(text);
    let words = plain
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut lines: Vec<String> = words.skip_while(String::is_empty).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}

/// The text without escape sequences of a terminal.
fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\u{1b}[") {
        plain.push_str(before);
        rest = after.trim_start_matches(|c: char| !c.is_ascii_alphabetic());
        rest = rest.get(1..).unwrap_or("");
    }
    plain + rest
}

fn lines_match(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == ANY => {
            (0..=printed.len()).any(|skipped| lines_match(rest, &printed[skipped..]))
        }
        Some((first, rest)) => match printed.split_first() {
            Some((line, others)) => line_matches(first, line) && lines_match(rest, others),
            None => false,
        },
    }
}

fn line_matches(expected: &str, printed: &str) -> bool {
    let mut parts = expected.split(ANY).map(str::trim);
    let first = parts.next().unwrap_or("");
    let Some(mut rest) = printed.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn equal_text_matches_and_other_text_does_not() {
        assert!(matches("a b\n\nc\n", "\na   b\n\nc"));
        assert!(!matches("a b\n", "a c\n"));
        assert!(!matches("a\n", "a\nb\n"));
        assert!(!matches("a\nb\n", "a\n"));
    }

    #[test]
    fn an_ellipsis_matches_any_part_of_a_line() {
        assert!(matches(
            "imported … machines in … ms",
            "imported 40 machines in 12 ms"
        ));
        assert!(!matches(
            "imported … machines in … ms",
            "imported 40 machines in 12 s"
        ));
        assert!(matches("…", "anything"));
        assert!(matches("until …", "until 2026-11-23 10:00"));
        assert!(!matches("ab…ba", "aba"));
    }

    #[test]
    fn an_ellipsis_on_its_own_line_matches_any_lines() {
        assert!(matches("a\n…\nz", "a\nb\nc\nz"));
        assert!(matches("a\n…\nz", "a\nz"));
        assert!(!matches("a\n…\nz", "a\nb"));
    }

    #[test]
    fn colours_are_ignored() {
        assert!(matches("red text", "\u{1b}[1;31mred\u{1b}[0m text\u{1b}[K"));
    }
}
