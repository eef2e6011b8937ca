//! Output stream of a command, read with a bounded buffer.

use tokio::io::{AsyncRead, AsyncReadExt};

/// How many bytes of a line are kept.
const MAX_LINE: usize = 1024;

/// Reads a stream to its end, and keeps its beginning and its last line that is not blank.
#[derive(Debug, Default)]
pub(super) struct StreamReader {
    /// The first bytes, up to the limit.
    pub(super) beginning: Vec<u8>,
    /// Whether the stream was longer than the limit.
    pub(super) is_longer: bool,
    last: Option<String>,
    line: Vec<u8>,
}

impl StreamReader {
    /// The last line that is not blank, sanitized.
    pub(super) fn last_line(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Reads until the stream ends and calls `on_line` with each line that is not blank. `limit`: how many
    /// bytes of the beginning are kept.
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
        self.end_line(&mut on_line);
    }

    fn take(&mut self, bytes: &[u8], limit: usize, on_line: &mut impl FnMut(&str)) {
        let room = limit.saturating_sub(self.beginning.len());
        self.beginning.extend(bytes.iter().take(room));
        self.is_longer |= bytes.len() > room;
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(on_line),
                _ if self.line.len() < MAX_LINE => self.line.push(byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self, on_line: &mut impl FnMut(&str)) {
        let text = sanitize(&std::mem::take(&mut self.line));
        if !text.is_empty() {
            on_line(&text);
            self.last = Some(text);
        }
    }
}

/// The trimmed line as text. Control characters are escaped, so that a terminal does not obey them.
fn sanitize(line: &[u8]) -> String {
    let mut text = String::new();
    for c in String::from_utf8_lossy(line).trim().chars() {
        match c {
            '\t' => text.push(' '),
            c if c.is_control() => text.extend(c.escape_default()),
            c => text.push(c),
        }
    }
    text
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
        assert_eq!(
            read(b"without an end", 0).await.0.last_line(),
            Some("without an end")
        );
    }

    #[tokio::test]
    async fn control_characters_and_invalid_text_are_escaped() {
        let (all, _) = read(b"\x1b[31mno\0 \xff power\x07\n", 0).await;
        let escaped = "\\u{1b}[31mno\\u{0} \u{fffd} power\\u{7}";
        assert_eq!(all.last_line(), Some(escaped));
    }

    #[tokio::test]
    async fn memory_is_bounded_whatever_is_printed() {
        let long = vec![b'x'; 1_000_000];
        let (all, _) = read(&long, 10).await;
        assert_eq!((all.beginning.len(), all.is_longer), (10, true));
        assert_eq!(all.last_line().map(str::len), Some(MAX_LINE));
        let (all, _) = read(b"0123456789", 10).await;
        assert!(!all.is_longer);
    }
}
