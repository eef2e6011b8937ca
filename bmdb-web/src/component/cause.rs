//! Causes and reasons: text that people and programs wrote, of any length.

use maud::{Markup, html};

/// What is shown of a text before somebody asks for the rest, in characters: two or three lines.
const SHOWN: usize = 160;

/// The text, which opens where it is long.
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

#[cfg(test)]
mod tests {
    use super::cause;

    #[test]
    fn a_long_text_opens_and_a_short_one_is_there() {
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
