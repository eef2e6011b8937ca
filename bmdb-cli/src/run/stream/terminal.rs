//! Terminal line: what a terminal would show of the line that a command prints.
//!
//! Programs that show their progress write over a line many times. Only lines matter here: moving to another
//! one begins a new one.

use unicode_width::UnicodeWidthChar;

/// How many cells of a line are kept: more than what is shown of it.
const MAX_CELLS: usize = 4096;

/// How many cells are dropped at the beginning of a line that is longer.
const DROPPED: usize = MAX_CELLS / 2;

/// The longest parameters of a sequence that are read.
const MAX_PARAMETERS: usize = 32;

const TAB: usize = 8;

/// The second cell of a wide character.
const WIDE: char = '\0';

/// A line of a terminal without an edge. Its memory is bounded.
#[derive(Debug, Default)]
pub(super) struct TerminalLine {
    cells: Vec<char>,
    cursor: usize,
    saved_cursor: usize,
    /// Whether the beginning of the line was dropped.
    is_cut: bool,
    state: State,
}

/// Where in an escape sequence the stream is.
#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    Escape,
    /// The end of an escape sequence is still to come.
    Intermediate,
    /// A control sequence, with its parameters.
    Control(String),
    /// A string for the terminal, such as its title.
    String,
    StringEscape,
}

/// Whether the line goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Line {
    Open,
    Ended,
}

impl TerminalLine {
    /// Takes the next character.
    #[must_use]
    pub(super) fn take(&mut self, c: char) -> Line {
        match (std::mem::take(&mut self.state), c) {
            // Also in the middle of a sequence, which might never end.
            (_, '\n' | '\u{b}' | '\u{c}') => return Line::Ended,
            (State::StringEscape, '\\') | (State::String, '\u{7}') => {}
            (State::String, '\u{1b}') => self.state = State::StringEscape,
            // They abort every sequence.
            (_, '\u{18}' | '\u{1a}') => {}
            (State::String, _) => self.state = State::String,
            (_, '\u{1b}') => self.state = State::Escape,
            (State::Escape | State::StringEscape, c) => return self.escape(c),
            (State::Intermediate, ' '..='/') => self.state = State::Intermediate,
            (State::Intermediate, _) => {}
            (State::Control(parameters), '@'..='~') => return self.control(&parameters, c),
            (State::Control(mut parameters), ' '..='?') => {
                if parameters.len() < MAX_PARAMETERS {
                    parameters.push(c);
                }
                self.state = State::Control(parameters);
            }
            (state, c) if c < ' ' || c == '\u{7f}' => {
                self.state = state;
                self.move_by(c);
            }
            (_, '\u{9b}') => self.state = State::Control(String::new()),
            (_, c) => self.print(c),
        }
        Line::Open
    }

    /// What the line shows, without blanks at its end, and whether its beginning was dropped. Begins the next
    /// line.
    pub(super) fn end(&mut self) -> (String, bool) {
        let shown = self.cells.iter().filter(|c| **c != WIDE);
        let text: String = shown.collect();
        let ended = (text.trim_end().to_owned(), self.is_cut);
        self.cells.clear();
        (self.cursor, self.is_cut) = (0, false);
        self.state = State::Text;
        ended
    }

    /// Obeys a control character. A terminal shows nothing for the others.
    fn move_by(&mut self, c: char) {
        match c {
            '\r' => self.cursor = 0,
            '\u{8}' => self.cursor = self.cursor.saturating_sub(1),
            '\t' => self.move_to((self.cursor / TAB + 1) * TAB),
            _ => {}
        }
    }

    fn move_to(&mut self, column: usize) {
        self.cursor = column.min(MAX_CELLS);
    }

    fn escape(&mut self, c: char) -> Line {
        match c {
            '[' => self.state = State::Control(String::new()),
            ']' | 'P' | 'X' | '^' | '_' => self.state = State::String,
            ' '..='/' => self.state = State::Intermediate,
            '7' => self.saved_cursor = self.cursor,
            '8' => self.cursor = self.saved_cursor,
            // A reset, and other lines.
            'c' | 'D' | 'E' | 'M' => return Line::Ended,
            _ => {}
        }
        Line::Open
    }

    fn control(&mut self, parameters: &str, c: char) -> Line {
        let first = parameters.split([';', ':']).next().unwrap_or_default();
        let number = match first {
            "" => None,
            // With a private mark it is another sequence, such as for the shape of the cursor.
            first => match first.parse::<usize>() {
                Ok(number) => Some(number),
                Err(_) => return Line::Open,
            },
        };
        let count = number.unwrap_or(1).clamp(1, MAX_CELLS);
        let to = self.cursor.saturating_add(count);
        match c {
            'J' | 'K' => self.erase(number.unwrap_or(0)),
            'C' | 'a' => self.move_to(to),
            'D' => self.cursor = self.cursor.saturating_sub(count),
            'G' | '`' => self.cursor = count - 1,
            's' => self.saved_cursor = self.cursor,
            'u' => self.cursor = self.saved_cursor,
            'P' if self.cursor < self.cells.len() => {
                self.cells.drain(self.cursor..to.min(self.cells.len()));
            }
            'X' => self.blank(self.cursor, to),
            '@' if self.cursor < self.cells.len() => {
                let blanks = std::iter::repeat_n(' ', count);
                self.cells.splice(self.cursor..self.cursor, blanks);
                self.cells.truncate(MAX_CELLS);
            }
            // To another line.
            'A' | 'B' | 'E' | 'F' | 'H' | 'f' | 'd' | 'e' => return Line::Ended,
            _ => {}
        }
        Line::Open
    }

    fn erase(&mut self, what: usize) {
        match what {
            0 => self.cells.truncate(self.cursor),
            1 => self.blank(0, self.cursor + 1),
            _ => self.cells.clear(),
        }
        self.is_cut &= !self.cells.is_empty();
    }

    fn blank(&mut self, from: usize, to: usize) {
        self.cells
            .iter_mut()
            .take(to)
            .skip(from)
            .for_each(|c| *c = ' ');
    }

    fn print(&mut self, c: char) {
        if self.is_cut && self.cursor == 0 {
            // The beginning is not known any more. On a terminal with an edge it is the last row that is
            // written over.
            self.cells.clear();
            self.is_cut = false;
        }
        match c.width() {
            Some(0) => {
                self.pad();
                self.cells.insert(self.cursor, c);
                self.cursor += 1;
            }
            // Blanks at the end are not kept, however many they are.
            Some(1) if c == ' ' && self.cursor >= self.cells.len() => self.move_to(self.cursor + 1),
            Some(2) => {
                self.put(c);
                self.put(WIDE);
            }
            _ => self.put(c),
        }
        self.limit();
    }

    fn put(&mut self, c: char) {
        self.pad();
        match self.cells.get_mut(self.cursor) {
            Some(cell) => *cell = c,
            None => self.cells.push(c),
        }
        self.cursor += 1;
        // Half of a wide character is none.
        if c != WIDE
            && let Some(cell @ &mut WIDE) = self.cells.get_mut(self.cursor)
        {
            *cell = ' ';
        }
    }

    /// Fills the line with blanks up to the cursor.
    fn pad(&mut self) {
        if self.cells.len() < self.cursor {
            self.cells.resize(self.cursor, ' ');
        }
    }

    fn limit(&mut self) {
        if self.cells.len() > MAX_CELLS {
            self.cells.drain(..DROPPED);
            self.cursor = self.cursor.saturating_sub(DROPPED);
            self.is_cut = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines that are not blank.
    fn lines(text: &str) -> Vec<String> {
        let (mut line, mut lines) = (TerminalLine::default(), Vec::new());
        for c in text.chars() {
            if line.take(c) == Line::Ended {
                lines.push(line.end().0);
            }
            assert!(line.cells.len() <= MAX_CELLS && line.cursor <= MAX_CELLS);
        }
        lines.push(line.end().0);
        lines.retain(|line| !line.trim().is_empty());
        lines
    }

    #[test]
    fn a_line_shows_what_a_terminal_would_show_last() {
        for (printed, shown) in [
            ("  0 %\r 50 %\r100 %", "100 %"),
            ("100 %\rdone", "done%"),
            ("100 %\r\x1b[Kdone\r", "done"),
            ("100 %\x1b[2K\rdone", "done"),
            ("100 %\x1b[1K\rdone", "done"),
            ("working |\u{8}/\u{8}-\u{8}ok", "working ok"),
            ("abc\u{8}\u{8}\u{8}\u{8}x", "xbc"),
            ("\x1b[1;31mred\x1b[0m \x1b[38:5:1mtext\x1b[m", "red text"),
            ("\x1b]0;a title\u{7}text", "text"),
            ("\x1b]8;;http://a\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1b(B\x1b[?25ltext\x1b[?25h\x1b=", "text"),
            ("\u{9b}31mtext", "text"),
            ("\x1bPdata\x1b\\text", "text"),
            ("a\tb", "a       b"),
            ("abcdefgh\tb", "abcdefgh        b"),
            ("a\tb\rxyz", "xyz     b"),
            ("text\x1b[2D\x1b[Ks", "tes"),
            ("text\x1b[1G\x1b[2P", "xt"),
            ("text\x1b[1G\x1b[@.", ".text"),
            ("text\x1b[1G\x1b[2X", "  xt"),
            ("a\x1b[3Cb", "a   b"),
            ("a\x1b7bc\x1b8d", "adc"),
            ("a\0b\u{7}c\u{7f}", "abc"),
            ("漢字\ra", "a 字"),
            ("漢字\r   b", "   b"),
            ("e\u{301}\r\u{1b}[4m", "e\u{301}"),
            ("\x1b[31\x18text", "text"),
            ("text   \r\n", "text"),
        ] {
            assert_eq!(lines(printed), [shown], "{printed:?}");
        }
    }

    #[test]
    fn moving_to_another_line_ends_a_line_and_so_does_a_line_break_in_a_sequence() {
        assert_eq!(
            lines("one\x1b[1A\rtwo\x1b[2Hthree"),
            ["one", "two", "three"]
        );
        assert_eq!(lines("\x1b]0;never ends\ntext"), ["text"]);
        assert_eq!(lines("\x1b[31\ntext"), ["text"]);
        assert_eq!(lines("a\u{c}b\u{b}c"), ["a", "b", "c"]);
    }

    #[test]
    fn the_end_of_a_line_of_any_length_is_kept() {
        let mut line = TerminalLine::default();
        for _ in 0..1_000_000 {
            let _ = line.take('x');
        }
        for c in "the end".chars().chain([' '; 10_000]) {
            let _ = line.take(c);
            assert!(line.cells.len() <= MAX_CELLS);
        }
        let (text, is_cut) = line.end();
        assert!(is_cut && text.ends_with("xthe end"), "{text}");
        assert!(text.len() > DROPPED);

        let long = "x".repeat(10_000);
        assert_eq!(lines(&format!("{long}\rdone")), ["done"]);
        assert_eq!(lines(&format!("{long}\r\x1b[K")), [""; 0]);
        assert!(lines(&format!("{long}\r\nnext"))[0].ends_with('x'));
        let marks = format!("x{}", "\u{301}".repeat(10_000));
        assert!(lines(&marks)[0].chars().count() <= MAX_CELLS);
        assert_eq!(
            lines("a\x1b[99999Cb")[0].trim_start_matches(['a', ' ']),
            "b"
        );
        assert_eq!(lines("\x1b[99999999999999999999999Ca"), ["a"]);
    }
}
