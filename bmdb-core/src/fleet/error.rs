//! What is wrong with a fleet file, with positions.

use std::fmt;

/// What is wrong with a fleet file. Nothing of such a file is imported.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct FleetError {
    pub(super) problems: Vec<FleetProblem>,
    pub(super) further: usize,
}

/// One problem of a fleet file, with its position.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetProblem {
    /// The line, from 1. Lines end with a line feed, a carriage return or both.
    pub line: usize,
    /// The column in bytes, from 1.
    pub column: usize,
    /// The problem, with the field's name.
    pub problem: String,
}

impl FleetError {
    /// The problems, in the order of the file: the first ones if there are many.
    #[must_use]
    pub fn problems(&self) -> &[FleetProblem] {
        &self.problems
    }

    /// How many further problems there are.
    #[must_use]
    pub const fn further(&self) -> usize {
        self.further
    }
}

impl fmt::Display for FleetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{problem}")?;
        }
        match self.further {
            0 => Ok(()),
            further => write!(f, "; and {further} further problems"),
        }
    }
}

impl fmt::Display for FleetProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (line, column, problem) = (self.line, self.column, &self.problem);
        write!(f, "line {line}, column {column}: {problem}")
    }
}
