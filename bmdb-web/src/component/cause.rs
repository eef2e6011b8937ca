//! Causes and reasons: texts of any length, written by people and programs.

use maud::{Markup, html};

/// How many characters are shown before the reader unfolds the text: two or three lines.
const SHOWN: usize = 160;

/// The text, folded if it is long.
pub(crate) fn cause(text: &str) -> Markup {
    match text.char_indices().nth(SHOWN) {
        None => html! { span.cause { (text) } },
        Some((end, _)) => html! {
            details.cause {
                summary { (text[..end].trim_end()) "…" }
                (text)
            }
        },
    }
}

pub(crate) fn optional(text: Option<&str>) -> Markup {
    html! { @if let Some(text) = text { (cause(text)) } }
}

#[cfg(test)]
mod tests {
    use super::cause;

    #[test]
    fn long_texts_are_folded_and_short_ones_are_not() {
        let short = "ä".repeat(160);
        assert!(!cause(&short).into_string().contains("details"));
        let long = cause(&"ä".repeat(161)).into_string();
        assert!(
            long.contains(&format!("<summary>{short}…</summary>")),
            "{long}"
        );
        assert!(long.contains(&"ä".repeat(161)), "{long}");
    }
}
