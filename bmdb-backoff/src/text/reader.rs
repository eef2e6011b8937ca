//! `Reader`: a position in a text, and the small words and numbers read from there.

use crate::ParseError;

pub(super) struct Reader<'a> {
    rest: &'a str,
    offset: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            rest: text,
            offset: 0,
        }
    }

    /// Reads a text that is one value and nothing else.
    pub(super) fn whole<T>(
        text: &'a str,
        read: fn(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        let mut reader = Self::new(text);
        let value = read(&mut reader)?;
        if reader.at_end() {
            Ok(value)
        } else {
            reader.expected("the end of the text")
        }
    }

    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    pub(super) fn at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn expected<T>(&self, what: &'static str) -> Result<T, ParseError> {
        Err(ParseError::new(self.offset, what))
    }

    pub(super) fn take(
        &mut self,
        character: char,
        expected: &'static str,
    ) -> Result<(), ParseError> {
        if self.skip(character) {
            Ok(())
        } else {
            self.expected(expected)
        }
    }

    pub(super) fn skip(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                self.offset += character.len_utf8();
                true
            }
            None => false,
        }
    }

    pub(super) fn at_digit(&self) -> bool {
        self.rest.starts_with(|c: char| c.is_ascii_digit())
    }

    pub(super) fn word(&mut self) -> &'a str {
        self.take_while(|c| c.is_ascii_lowercase())
    }

    pub(super) fn digits(&mut self) -> Result<&'a str, ParseError> {
        match self.take_while(|c| c.is_ascii_digit()) {
            "" => self.expected("a digit"),
            digits => Ok(digits),
        }
    }

    fn take_while(&mut self, accept: fn(char) -> bool) -> &'a str {
        let len = self.rest.find(|c| !accept(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        self.offset += len;
        taken
    }
}
