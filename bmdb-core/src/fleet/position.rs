//! Positions in a text: lines end with LF, CR LF or CR, whatever wrote the file.

use super::error::FleetProblem;

pub(super) struct Positions<'t> {
    text: &'t str,
    /// The offsets at which lines begin.
    lines: Vec<usize>,
}

impl<'t> Positions<'t> {
    pub(super) fn of(text: &'t str) -> Self {
        let bytes = text.as_bytes();
        let ends = (0..bytes.len()).filter(|at| match bytes[*at] {
            b'\n' => true,
            b'\r' => bytes.get(at + 1) != Some(&b'\n'),
            _ => false,
        });
        let lines = std::iter::once(0).chain(ends.map(|at| at + 1)).collect();
        Self { text, lines }
    }

    /// The offset of a part of the text.
    pub(super) fn offset(&self, part: &str) -> usize {
        let (start, part) = (self.text.as_ptr().addr(), part.as_ptr().addr());
        part.saturating_sub(start).min(self.text.len())
    }

    pub(super) fn problem(&self, offset: usize, problem: String) -> FleetProblem {
        let line = self.lines.partition_point(|begin| *begin <= offset).max(1);
        FleetProblem {
            line,
            column: offset - self.lines[line - 1] + 1,
            problem,
        }
    }

    /// A problem at a line and a column as JSON parsers count them, by line feeds only.
    pub(super) fn syntax(&self, line: usize, column: usize, problem: String) -> FleetProblem {
        self.problem(self.offset_of(line, column), problem)
    }

    /// The text before such a position.
    pub(super) fn before(&self, line: usize, column: usize) -> &'t str {
        self.text
            .get(..self.offset_of(line, column))
            .unwrap_or_default()
    }

    fn offset_of(&self, line: usize, column: usize) -> usize {
        let feeds = self.text.match_indices('\n').map(|(at, _)| at + 1);
        let begin = std::iter::once(0).chain(feeds).nth(line.saturating_sub(1));
        let offset = begin.unwrap_or(self.text.len()) + column.saturating_sub(1);
        offset.min(self.text.len())
    }
}

#[cfg(test)]
mod tests {
    use super::Positions;

    #[test]
    fn lines_end_as_any_system_ends_them() {
        let text = "a\nb\r\nc\rd\n";
        let positions = Positions::of(text);
        let place = |offset: usize| {
            let problem = positions.problem(offset, String::new());
            (problem.line, problem.column)
        };
        let places = [0, 1, 2, 4, 5, 7, 8, 9].map(place);
        let expected = [
            (1, 1),
            (1, 2),
            (2, 1),
            (2, 3),
            (3, 1),
            (4, 1),
            (4, 2),
            (5, 1),
        ];
        assert_eq!(places, expected);
        assert_eq!(positions.offset(&text[3..4]), 3);
        let problem = positions.syntax(3, 3, String::new());
        assert_eq!((problem.line, problem.column), (4, 1));
    }
}
