//! Decoder: the characters of a command's output, which is UTF-8 or, from Windows' programs, UTF-16.

/// Decodes bytes as they arrive. Keeps at most a few of them.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// `None`: too few bytes have arrived.
    encoding: Option<Encoding>,
    /// The beginning of a character, or of the stream.
    pending: Vec<u8>,
    /// The first half of a UTF-16 pair.
    high: Option<u16>,
    /// Whether the first character has been passed on.
    has_begun: bool,
}

#[derive(Debug, Clone, Copy)]
enum Encoding {
    Utf8,
    Utf16(fn([u8; 2]) -> u16),
}

impl Decoder {
    /// Passes each complete character to `on_char`. Bytes that are none become U+FFFD.
    pub(super) fn decode(&mut self, bytes: &[u8], on_char: &mut impl FnMut(char)) {
        self.pending.extend_from_slice(bytes);
        if let Some(encoding) = self.encoding.or_else(|| sniff(&self.pending)) {
            self.pass_on(encoding, on_char);
        }
    }

    /// Passes on what is left at the end of the stream.
    pub(super) fn finish(&mut self, on_char: &mut impl FnMut(char)) {
        self.pass_on(self.encoding.unwrap_or(Encoding::Utf8), on_char);
        if self.high.take().is_some() || !std::mem::take(&mut self.pending).is_empty() {
            on_char(char::REPLACEMENT_CHARACTER);
        }
    }

    fn pass_on(&mut self, encoding: Encoding, on_char: &mut impl FnMut(char)) {
        self.encoding = Some(encoding);
        let bytes = std::mem::take(&mut self.pending);
        let mut has_begun = self.has_begun;
        let mut on_char = |c| {
            // A byte order mark is no text.
            if std::mem::replace(&mut has_begun, true) || c != '\u{feff}' {
                on_char(c);
            }
        };
        match encoding {
            Encoding::Utf8 => self.pending = utf8(&bytes, &mut on_char),
            Encoding::Utf16(unit) => {
                let (pairs, odd) = bytes.as_chunks::<2>();
                for pair in pairs {
                    self.utf16(unit(*pair), &mut on_char);
                }
                self.pending = odd.to_vec();
            }
        }
        self.has_begun = has_begun;
    }

    fn utf16(&mut self, unit: u16, on_char: &mut impl FnMut(char)) {
        let is_high = (0xd800..0xdc00).contains(&unit);
        let units = self
            .high
            .take()
            .into_iter()
            .chain((!is_high).then_some(unit));
        for decoded in char::decode_utf16(units) {
            on_char(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
        }
        self.high = is_high.then_some(unit);
    }
}

/// Returns the bytes of a character that is not complete yet.
fn utf8(bytes: &[u8], on_char: &mut impl FnMut(char)) -> Vec<u8> {
    let mut chunks = bytes.utf8_chunks().peekable();
    while let Some(chunk) = chunks.next() {
        chunk.valid().chars().for_each(&mut *on_char);
        let invalid = chunk.invalid();
        let is_incomplete = || str::from_utf8(invalid).is_err_and(|e| e.error_len().is_none());
        if chunks.peek().is_none() && is_incomplete() {
            return invalid.to_vec();
        }
        if !invalid.is_empty() {
            on_char(char::REPLACEMENT_CHARACTER);
        }
    }
    Vec::new()
}

/// The encoding of a stream that begins so; `None` while that is open.
fn sniff(bytes: &[u8]) -> Option<Encoding> {
    Some(match bytes {
        [0xff, 0xfe, ..] => Encoding::Utf16(u16::from_le_bytes),
        [0xfe, 0xff, ..] => Encoding::Utf16(u16::from_be_bytes),
        // Letters of ASCII without a byte order mark.
        [1..=0xff, 0, 1..=0xff, 0, ..] => Encoding::Utf16(u16::from_le_bytes),
        [0, 1..=0xff, 0, 1..=0xff, ..] => Encoding::Utf16(u16::from_be_bytes),
        [] | [_] | [_, 0] | [1..=0xff, 0, 1..=0xff] | [0, 1..=0xff] | [0, 1..=0xff, 0] => {
            return None;
        }
        _ => Encoding::Utf8,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text, whatever the pieces are that it arrives in.
    fn decoded(bytes: &[u8]) -> String {
        let texts: Vec<String> = (1..=bytes.len().max(1))
            .map(|size| {
                let (mut decoder, mut text) = (Decoder::default(), String::new());
                for piece in bytes.chunks(size) {
                    decoder.decode(piece, &mut |c| text.push(c));
                    assert!(decoder.pending.len() <= 4, "{decoder:?}");
                }
                decoder.finish(&mut |c| text.push(c));
                text
            })
            .collect();
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        texts[0].clone()
    }

    #[test]
    fn utf8_is_decoded_and_other_bytes_are_marked() {
        assert_eq!(decoded("a é 漢 🦀\n".as_bytes()), "a é 漢 🦀\n");
        assert_eq!(decoded(b"\xef\xbb\xbfwith a mark"), "with a mark");
        assert_eq!(
            decoded(b"f\xfcr \xe9\n\xc3"),
            "f\u{fffd}r \u{fffd}\n\u{fffd}"
        );
        assert_eq!(decoded(b""), "");
        assert_eq!(decoded(b"x"), "x");
        assert_eq!(decoded(b"\0\0ab"), "\0\0ab");
    }

    #[test]
    fn utf16_is_decoded_in_both_orders_with_and_without_a_mark() {
        for text in ["no power\n", "für 漢 🦀"] {
            for mark in ["", "\u{feff}"] {
                if mark.is_empty() && !text.is_ascii() {
                    continue;
                }
                let units: Vec<u16> = format!("{mark}{text}").encode_utf16().collect();
                let little: Vec<u8> = units.iter().flat_map(|u| u.to_le_bytes()).collect();
                let big: Vec<u8> = units.iter().flat_map(|u| u.to_be_bytes()).collect();
                assert_eq!(decoded(&little), text);
                assert_eq!(decoded(&big), text);
            }
        }
        assert_eq!(decoded(b"\xff\xfea\0\x3d\xd8b\0"), "a\u{fffd}b");
        assert_eq!(decoded(b"\xff\xfea\0\x3d\xd8"), "a\u{fffd}");
        assert_eq!(decoded(b"\xff\xfea\0b"), "a\u{fffd}");
    }
}
