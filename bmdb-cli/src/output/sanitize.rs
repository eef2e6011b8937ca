//! Sanitizing: removes the control characters that a terminal would obey.

/// Replaces each control character by a space. Line breaks and colour sequences stay.
pub(super) fn sanitize(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = colour_length(rest);
        let (piece, behind) = rest.split_at(colour.unwrap_or(c.len_utf8()));
        match c.is_control() && c != '\n' && colour.is_none() {
            true => clean.push(' '),
            false => clean.push_str(piece),
        }
        rest = behind;
    }
    clean
}

/// The length in bytes of the colour sequence at the start of the text, if there is one.
fn colour_length(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then_some(end + 3)
}
