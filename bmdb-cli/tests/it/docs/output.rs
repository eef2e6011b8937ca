//! Whether a program printed what a document says: `…` stands for whatever differs from run to run.

/// What documents write for any text within a line and, alone on a line, for any lines.
const ANY: &str = "…";

/// Whether what was printed contains what was expected, from its first line to its last.
///
/// Colours are left out, and any white space counts as one space, so that the width of a column may
/// differ; so do empty lines at both ends.
pub(super) fn fits(expected: &str, printed: &str) -> bool {
    let expected: Vec<String> = lines(expected);
    let printed: Vec<String> = lines(printed);
    lines_fit(&expected, &printed)
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

/// The text without what moves a terminal's cursor or changes its colour.
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

fn lines_fit(expected: &[String], printed: &[String]) -> bool {
    match expected.split_first() {
        None => printed.is_empty(),
        Some((first, rest)) if first == ANY => {
            (0..=printed.len()).any(|skipped| lines_fit(rest, &printed[skipped..]))
        }
        Some((first, rest)) => match printed.split_first() {
            Some((line, others)) => line_fits(first, line) && lines_fit(rest, others),
            None => false,
        },
    }
}

fn line_fits(expected: &str, printed: &str) -> bool {
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
    use super::fits;

    #[test]
    fn the_same_text_fits_and_another_does_not() {
        assert!(fits("a b\n\nc\n", "\na   b\n\nc"));
        assert!(!fits("a b\n", "a c\n"));
        assert!(!fits("a\n", "a\nb\n"));
        assert!(!fits("a\nb\n", "a\n"));
    }

    #[test]
    fn an_ellipsis_stands_for_any_part_of_a_line() {
        assert!(fits(
            "imported … machines in … ms",
            "imported 40 machines in 12 ms"
        ));
        assert!(!fits(
            "imported … machines in … ms",
            "imported 40 machines in 12 s"
        ));
        assert!(fits("…", "anything"));
        assert!(fits("until …", "until 2026-11-23 10:00"));
        assert!(!fits("ab…ba", "aba"));
    }

    #[test]
    fn an_ellipsis_on_its_own_line_stands_for_any_lines() {
        assert!(fits("a\n…\nz", "a\nb\nc\nz"));
        assert!(fits("a\n…\nz", "a\nz"));
        assert!(!fits("a\n…\nz", "a\nb"));
    }

    #[test]
    fn colours_do_not_matter() {
        assert!(fits("red text", "\u{1b}[1;31mred\u{1b}[0m text\u{1b}[K"));
    }
}
