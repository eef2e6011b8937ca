//! Finding: one broken rule, at its place, with the way to mend it.

use std::fmt;

/// One broken rule, at its place, with the way to mend it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) path: String,
    pub(super) line: usize,
    pub(super) rule: &'static str,
    pub(super) fix: String,
}

impl Finding {
    pub(super) fn new(path: &str, line: usize, rule: &'static str, fix: impl ToString) -> Self {
        Self {
            path: path.to_owned(),
            line,
            rule,
            fix: fix.to_string(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            line,
            rule,
            fix,
        } = self;
        write!(f, "{path}:{line}: {rule}: {fix}")
    }
}
