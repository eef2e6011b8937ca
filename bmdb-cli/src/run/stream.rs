//! Output stream of a command, read with a bounded buffer.

mod decode;
mod terminal;

use bmdb_model::text;
use decode::Decoder;
use terminal::{Line, TerminalLine};
use tokio::io::{AsyncRead, AsyncReadExt};

/// How many bytes of a line are shown: its end.
const MAX_LINE: usize = 1024;

/// Reads a stream to its end, and keeps its beginning and its last line that is not blank.
#[derive(Debug, Default)]
pub(super) struct StreamReader {
    /// The first bytes, up to the limit.
    pub(super) beginning: Vec<u8>,
    /// Whether the stream was longer than the limit.
    pub(super) is_longer: bool,
    last: Option<String>,
    decoder: Decoder,
    line: TerminalLine,
}

impl StreamReader {
    /// The last line that is not blank, as a terminal would show it. The line that is not complete yet counts.
    pub(super) fn last_line(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Reads until the stream ends and calls `on_line` with each line that is not blank. `limit`: how many
    /// bytes of the beginning are kept.
    ///
    /// Cancellation: what has been read counts; call [`Self::end`].
    pub(super) async fn read(
        &mut self,
        stream: Option<impl AsyncRead + Unpin>,
        limit: usize,
        mut on_line: impl FnMut(&str),
    ) {
        let Some(mut stream) = stream else { return };
        let mut chunk = [0; 4096];
        loop {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(read) => self.take(chunk.get(..read).unwrap_or_default(), limit, &mut on_line),
            }
        }
        self.end(on_line);
    }

    /// Ends the stream, and with it its last line.
    pub(super) fn end(&mut self, mut on_line: impl FnMut(&str)) {
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.finish(&mut |c| self.next(c, &mut on_line));
        self.end_line(&mut on_line);
    }

    fn take(&mut self, bytes: &[u8], limit: usize, on_line: &mut impl FnMut(&str)) {
        let room = limit.saturating_sub(self.beginning.len());
        self.beginning.extend(bytes.iter().take(room));
        self.is_longer |= bytes.len() > room;
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.decode(bytes, &mut |c| self.next(c, on_line));
        self.decoder = decoder;
    }

    fn next(&mut self, c: char, on_line: &mut impl FnMut(&str)) {
        if self.line.take(c) == Line::Ended {
            self.end_line(on_line);
        }
    }

    fn end_line(&mut self, on_line: &mut impl FnMut(&str)) {
        let (line, is_cut) = self.line.end();
        // A terminal shows nothing of it.
        let is_blank = |c: char| c.is_whitespace() || text::is_invisible(c);
        if !line.chars().all(is_blank) {
            let line = shown(&line, is_cut);
            on_line(&line);
            self.last = Some(line);
        }
    }
}

/// The line as text for people: trimmed, with everything invisible escaped, and only its end if it is long.
fn shown(line: &str, is_cut: bool) -> String {
    let line = text::escape(line.trim());
    if line.len() <= MAX_LINE && !is_cut {
        return line.into_owned();
    }
    let longest = MAX_LINE - '…'.len_utf8();
    let start = line.ceil_char_boundary(line.len().saturating_sub(longest));
    format!("…{}", &line[start..])
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(bytes: &[u8], limit: usize) -> (StreamReader, Vec<String>) {
        let mut reader = StreamReader::default();
        let mut lines = Vec::new();
        let mut on_line = |line: &str| lines.push(line.to_owned());
        reader.read(Some(bytes), limit, &mut on_line).await;
        (reader, lines)
    }

    #[tokio::test]
    async fn the_last_line_that_is_not_blank_is_kept() {
        let (all, lines) = read(b"first\n\nlast one  \r\n \n\n", 0).await;
        assert_eq!(all.last_line(), Some("last one"));
        assert_eq!(lines, ["first", "last one"]);
        assert_eq!(read(b"\n \n", 0).await.0.last_line(), None);
        let blank = "text\n\u{200b} \u{a0}\n".as_bytes();
        assert_eq!(read(blank, 0).await.0.last_line(), Some("text"));
        assert_eq!(
            read(b"without an end", 0).await.0.last_line(),
            Some("without an end")
        );
    }

    /// The colours of a command ended up as escape sequences in its cause.
    #[tokio::test]
    async fn what_a_terminal_obeys_is_obeyed_and_what_nobody_sees_is_escaped() {
        let (all, _) = read(b"\x1b[31mno\0 \xff power\x07\n", 0).await;
        assert_eq!(all.last_line(), Some("no \u{fffd} power"));
        let (all, _) = read("abc\u{202e}def\u{2028}\u{200b}".as_bytes(), 0).await;
        let escaped = "abc\\u{202e}def\\u{2028}\\u{200b}";
        assert_eq!(all.last_line(), Some(escaped));
    }

    /// The cause of a failed curl was the whole history of its progress, cut before the error.
    #[tokio::test]
    async fn of_a_progress_the_last_state_is_the_last_line() {
        let mut printed = Vec::new();
        for percent in 0..=10_000 {
            printed.extend(format!("\r{percent:5} of 10000, at 1 MB/s").into_bytes());
        }
        let (all, lines) = read(&printed, 0).await;
        assert_eq!(all.last_line(), Some("10000 of 10000, at 1 MB/s"));
        assert_eq!(lines.len(), 1);
        printed.extend(b"\r\x1b[Kcurl: (56) connection reset\r\n\r\n");
        let (all, lines) = read(&printed, 0).await;
        assert_eq!(all.last_line(), Some("curl: (56) connection reset"));
        assert_eq!(lines.len(), 1);
    }

    #[tokio::test]
    async fn the_end_of_a_long_line_is_kept() {
        let long = format!("{} the error\n", "x".repeat(MAX_LINE));
        let (all, _) = read(long.as_bytes(), 0).await;
        let last = all.last_line().unwrap();
        assert_eq!(last.len(), MAX_LINE);
        assert!(last.starts_with("…x") && last.ends_with("x the error"));
        let fits = "x".repeat(MAX_LINE);
        assert_eq!(read(fits.as_bytes(), 0).await.0.last_line(), Some(&*fits));
        let wide = "漢".repeat(MAX_LINE);
        let (all, _) = read(wide.as_bytes(), 0).await;
        assert!(all.last_line().unwrap().len() <= MAX_LINE);
    }

    #[tokio::test]
    async fn utf16_is_read() {
        let text: Vec<u8> = "\u{feff}no power\r\n"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        assert_eq!(read(&text, 0).await.0.last_line(), Some("no power"));
    }

    #[tokio::test]
    async fn memory_is_bounded_whatever_is_printed() {
        for piece in [
            "x", "\0", "\u{301}", "\x1b]0;", "\x1b[1;", "\u{1b}", "\t", "\u{8}",
        ] {
            let long = piece.repeat(1_000_000 / piece.len());
            let (all, _) = read(long.as_bytes(), 10).await;
            assert_eq!((all.beginning.len(), all.is_longer), (10, true));
            assert!(all.last_line().is_none_or(|line| line.len() <= MAX_LINE));
        }
        let (all, _) = read(b"0123456789", 10).await;
        assert!(!all.is_longer);
    }
}
