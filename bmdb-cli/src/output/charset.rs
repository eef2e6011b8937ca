//! Characters that the terminal can show: all of Unicode, or only ASCII in the locale C.
//!
//! In the locale C a terminal takes each byte for a character. It shows a letter outside of ASCII as two or
//! three others, and may obey some of the bytes.

use bmdb_model::text;
use std::borrow::Cow;
use std::fmt::Write;
use std::sync::LazyLock;

static IS_ASCII: LazyLock<bool> = LazyLock::new(|| {
    let variables = ["LC_ALL", "LC_CTYPE", "LANG"];
    let mut set = variables.iter().filter_map(|name| std::env::var(name).ok());
    let locale = set.find(|locale| !locale.is_empty());
    locale.is_some_and(|locale| is_ascii_locale(&locale))
});

/// Whether a locale's characters are not UTF-8. Where no locale is set, as in most containers, UTF-8 is
/// likely.
fn is_ascii_locale(locale: &str) -> bool {
    let locale = locale.to_ascii_lowercase();
    !(locale.contains("utf-8") || locale.contains("utf8"))
}

/// Whether only ASCII is printed.
pub(crate) fn is_ascii() -> bool {
    *IS_ASCII
}

/// The mark of a text that was cut.
pub(crate) fn ellipsis() -> &'static str {
    if is_ascii() { "..." } else { "…" }
}

/// The text on one line, as it is shown to people: invisible characters are escaped.
pub(crate) fn shown(text: &str) -> Cow<'_, str> {
    printable(text::escape(text))
}

/// JSON as it is printed: invisible characters are escaped, and its values are the same.
pub(crate) fn shown_json(json: &str) -> Cow<'_, str> {
    let escaped = text::escape_json(json);
    match is_ascii() {
        true => Cow::Owned(ascii_json(&escaped)),
        false => escaped,
    }
}

/// An escaped text in the characters of the terminal.
fn printable(text: Cow<'_, str>) -> Cow<'_, str> {
    match is_ascii() && !text.is_ascii() {
        true => Cow::Owned(ascii(&text)),
        false => text,
    }
}

fn ascii(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            c if c.is_ascii() => ascii.push(c),
            '…' => ascii += "...",
            '→' => ascii += "->",
            '×' => ascii.push('x'),
            '–' | '—' => ascii.push('-'),
            '‘' | '’' => ascii.push('\''),
            '“' | '”' => ascii.push('"'),
            c => ascii.extend(c.escape_unicode()),
        }
    }
    ascii
}

fn ascii_json(json: &str) -> String {
    let mut ascii = String::with_capacity(json.len());
    for c in json.chars() {
        if c.is_ascii() {
            ascii.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(ascii, "\\u{unit:04x}");
        }
    }
    ascii
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_locale_c_has_only_ascii() {
        for (locale, expected) in [
            ("C", true),
            ("POSIX", true),
            ("de_DE", true),
            ("de_DE.ISO-8859-1", true),
            ("C.UTF-8", false),
            ("de_DE.utf8@euro", false),
        ] {
            assert_eq!(is_ascii_locale(locale), expected, "{locale}");
        }
        assert_eq!(ascii("a… ×2 → “ü”"), "a... x2 -> \"\\u{fc}\"");
        assert_eq!(
            ascii_json("{\"ü\":\"𝄞\"}"),
            "{\"\\u00fc\":\"\\ud834\\udd1e\"}"
        );
    }
}
