//! Text that is safe to show: escapes what a reader would not see, or what a terminal would obey.
//!
//! Causes, reasons and ids come from commands, people and other programs. A bidirectional override in one
//! of them reverses the rest of a line, a line separator starts a second line in a log, and a zero-width
//! character makes two different names look the same. So everything that shows text to people calls this
//! module: tables, errors, log lines, JSON, pages and metrics.
//!
//! # What is escaped
//! - The Unicode categories *Other* (control and format characters, private use, unassigned) and
//!   *Separator*, except the space. Python's `repr` and Rust's `{:?}` follow the same rule. It includes
//!   bidirectional overrides and isolates, U+2028, byte order marks, soft hyphens, tags, and spaces of other
//!   widths.
//! - Letters, marks and symbols that are invisible by definition: fillers, variation selectors, and the
//!   blank Braille pattern.
//! - Combining marks that have no base, and those behind the eighth in a row, which would cover other lines.
//!
//! There is no exception for the joiner between emoji: joiners also carry hidden text.
//!
//! All letters stay, in every script and direction. A backslash stays as it is, so the escaped form is for
//! reading; `--json` has the exact value.

use std::borrow::Cow;
use std::fmt::{self, Display, Write};
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// More than any orthography needs on one letter.
const MAX_MARKS: usize = 8;

/// The text on one line with everything invisible escaped: `\n`, `\r`, `\t`, otherwise `\u{202e}`.
///
/// ```
/// use bmdb_model::text::escape;
///
/// assert_eq!(escape("no answer\r\n"), r"no answer\r\n");
/// assert_eq!(escape("abc\u{202e}def"), r"abc\u{202e}def");
/// assert_eq!(escape("שלום, café"), "שלום, café");
/// ```
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    rewrite(
        text,
        |_| false,
        |c, escaped| {
            match c {
                '\n' | '\r' | '\t' => escaped.extend(c.escape_default()),
                _ => escaped.extend(c.escape_unicode()),
            };
        },
    )
}

/// As [`escape`], but keeps line breaks (`\n`): for a text of ours that has several lines.
///
/// A value that somebody else wrote could begin a line that looks like one of ours, so escape it alone first.
#[must_use]
pub fn escape_lines(text: &str) -> Cow<'_, str> {
    match text.contains('\n') {
        false => escape(text),
        true => {
            let lines: Vec<Cow<'_, str>> = text.split('\n').map(escape).collect();
            Cow::Owned(lines.join("\n"))
        }
    }
}

/// The same JSON with everything invisible as `\u202e`, which every parser reads as the exact value.
///
/// Line breaks stay: in valid JSON they are only between the values.
#[must_use]
pub fn escape_json(json: &str) -> Cow<'_, str> {
    let is_layout = |c| matches!(c, '\n' | '\r' | '\t');
    rewrite(json, is_layout, |c, escaped| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a String cannot fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    })
}

/// Displays a value with [`escape`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escaped<T>(
    /// The value.
    pub T,
);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&escape(&self.0.to_string()))
    }
}

/// Whether [`escape`] replaces the character wherever it occurs.
///
/// Combining marks are not among these: how many are shown depends on the text before them.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    let group = c.general_category_group();
    matches!(
        group,
        GeneralCategoryGroup::Other | GeneralCategoryGroup::Separator
    ) || is_blank(c)
}

/// Characters that the standard defines as invisible (`Default_Ignorable_Code_Point`) although their category
/// is that of letters and marks, and the Braille pattern without dots, which is a symbol.
fn is_blank(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

/// Escapes with `write` what is invisible, unless `keeps` says otherwise.
fn rewrite(
    text: &str,
    keeps: impl Fn(char) -> bool,
    write: impl Fn(char, &mut String),
) -> Cow<'_, str> {
    let mut marks = Marks::default();
    let mut shows = |c| marks.shows(c) || keeps(c);
    let Some(first) = text.char_indices().find(|(_, c)| !shows(*c)) else {
        return Cow::Borrowed(text);
    };
    let (shown, rest) = text.split_at(first.0);
    let mut escaped = String::with_capacity(text.len() + 16);
    escaped.push_str(shown);
    for (index, c) in rest.char_indices() {
        // The state of the marks has already passed the first.
        match index > 0 && shows(c) {
            true => escaped.push(c),
            false => write(c, &mut escaped),
        }
    }
    Cow::Owned(escaped)
}

/// The combining marks since the last base.
#[derive(Debug, Default)]
struct Marks {
    /// `None`: there is no base.
    count: Option<usize>,
}

impl Marks {
    /// Whether this character, the next one of the text, is shown.
    fn shows(&mut self, c: char) -> bool {
        if is_invisible(c) {
            self.count = None;
            return false;
        }
        if is_mark(c) {
            self.count = self.count.map(|count| count + 1);
            return self.count.is_some_and(|count| count <= MAX_MARKS);
        }
        self.count = Some(0);
        true
    }
}

/// Whether the character is drawn over the one before. Spacing marks, such as vowels of Indic scripts, are
/// not: they have a place of their own.
fn is_mark(c: char) -> bool {
    !c.is_ascii()
        && matches!(
            c.general_category(),
            GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine's cause of failure held U+202E, so the line of `bmdb why` ran backwards from there, and
    /// U+2028 began a second line in the log.
    #[test]
    fn what_a_reader_does_not_see_is_escaped() {
        for (text, shown) in [
            ("", ""),
            ("plain text, 100 %", "plain text, 100 %"),
            ("two\nlines\r\n\tand a tab", r"two\nlines\r\n\tand a tab"),
            ("\u{1b}[31mred\u{7}\0", r"\u{1b}[31mred\u{7}\u{0}"),
            ("\u{7f}\u{9b}2J", r"\u{7f}\u{9b}2J"),
            ("a\u{202e}b\u{202c}", r"a\u{202e}b\u{202c}"),
            ("\u{2066}a\u{2069}", r"\u{2066}a\u{2069}"),
            ("\u{200e}\u{200f}\u{61c}", r"\u{200e}\u{200f}\u{61c}"),
            ("a\u{2028}b\u{2029}", r"a\u{2028}b\u{2029}"),
            (
                "ze\u{200b}ro\u{2060}\u{feff}",
                r"ze\u{200b}ro\u{2060}\u{feff}",
            ),
            ("soft\u{ad}hyphen", r"soft\u{ad}hyphen"),
            ("a\u{a0}b\u{3000}c\u{200a}", r"a\u{a0}b\u{3000}c\u{200a}"),
            (
                "\u{115f}\u{3164}\u{ffa0}\u{2800}",
                r"\u{115f}\u{3164}\u{ffa0}\u{2800}",
            ),
            ("x\u{fe0f}\u{e0101}\u{34f}", r"x\u{fe0f}\u{e0101}\u{34f}"),
            ("\u{e0001}\u{e0041}", r"\u{e0001}\u{e0041}"),
            ("\u{e000}\u{f8ff}\u{10ffff}", r"\u{e000}\u{f8ff}\u{10ffff}"),
            ("\u{378}\u{fff0}\u{ffff}", r"\u{378}\u{fff0}\u{ffff}"),
            ("\u{1f469}\u{200d}\u{1f680}", "\u{1f469}\\u{200d}\u{1f680}"),
        ] {
            assert_eq!(escape(text), shown, "{text:?}");
        }
    }

    #[test]
    fn ordinary_text_of_every_script_stays() {
        for text in [
            "Größe, naïve, cafe\u{301}, Việt Nam, Tiếng Việt",
            "→ … ✓ € ½ ─ █ 😀 🇩🇪 👍🏽 \\ \u{fffd}",
            "שָׁלוֹם עולם",
            "السلام عليكم، مُحَمَّد",
            "日本語の文字、中文，한국어",
            "हिन्दी தமிழ் ไทยที่นี่ བོད་ཡིག",
            "Ελληνικά Кириллица ქართული አማርኛ",
        ] {
            assert!(
                matches!(escape(text), Cow::Borrowed(same) if same == text),
                "{text}"
            );
        }
    }

    #[test]
    fn combining_marks_neither_flood_other_lines_nor_join_what_stands_before_the_text() {
        let marks = |count| "\u{301}".repeat(count);
        let full = format!("e{}", marks(MAX_MARKS));
        assert_eq!(escape(&full), full);
        assert_eq!(
            escape(&format!("{full}{}!", marks(2))),
            format!("{full}\\u{{301}}\\u{{301}}!")
        );
        assert_eq!(escape("\u{338}e\u{338}"), "\\u{338}e\u{338}");
        assert_eq!(escape("\n\u{338}"), r"\n\u{338}");
        assert_eq!(escape_lines("a\n\u{338}"), "a\n\\u{338}");
    }

    #[test]
    fn lines_of_ours_stay_lines() {
        assert_eq!(escape_lines("a\u{202e}\r\n b\n"), "a\\u{202e}\\r\n b\n");
        assert_eq!(escape_lines("a\tb"), r"a\tb");
    }

    #[test]
    fn a_value_is_padded_by_its_escaped_form() {
        assert_eq!(format!("{:<10}|", Escaped("a\u{7f}")), r"a\u{7f}   |");
    }

    #[test]
    fn json_keeps_its_value_and_shows_what_is_in_it() {
        let json = "{\n  \"\u{202e}a\": \"\u{7f}\u{e0041}\u{2028}ü\"\n}\n";
        let shown = "{\n  \"\\u202ea\": \"\\u007f\\udb40\\udc41\\u2028ü\"\n}\n";
        assert_eq!(escape_json(json), shown);
    }

    /// The standard library's own table is the witness: `{:?}` shows only what is printable.
    #[test]
    fn every_character_is_shown_or_escaped() {
        let mut all = String::new();
        for c in '\0'..=char::MAX {
            all.extend(['a', c]);
            let is_quoted = matches!(c, '\'' | '"' | '\\');
            let is_printable = is_quoted || c.escape_debug().len() == 1;
            if is_printable {
                assert!(!is_invisible(c) || is_blank(c), "{c:?} is printable");
            } else if !is_invisible(c) {
                // It escapes what extends the character before, and what is newer than its tables.
                assert!(is_mark(c) || c > '\u{2ff}', "{c:?} is not printable");
            }
        }
        let escaped = escape(&all);
        assert!(!escaped.chars().any(is_invisible));
        assert_eq!(escape(&escaped), escaped);
        assert!(
            !escape_json(&all)
                .chars()
                .any(|c| is_invisible(c) && !"\n\r\t".contains(c))
        );
    }
}
