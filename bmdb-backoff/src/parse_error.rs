//! `ParseError`: where a text is invalid, and what was expected there.

/// The text is not a policy, duration, factor or jitter: what was expected, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParseError {
    offset: usize,
    expected: &'static str,
}

impl ParseError {
    pub(crate) const fn new(offset: usize, expected: &'static str) -> Self {
        Self { offset, expected }
    }

    /// The byte offset at which something else was expected; the length of the text if it ended too early.
    #[must_use]
    pub const fn offset(&self) -> usize {
        self.offset
    }

    /// What was expected there, for people.
    #[must_use]
    pub const fn expected(&self) -> &'static str {
        self.expected
    }
}

impl core::fmt::Display for ParseError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "at byte {}: expected {}", self.offset, self.expected)
    }
}

impl core::error::Error for ParseError {}
