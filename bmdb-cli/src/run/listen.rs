//! What a command prints: bounded, whatever it is.

use tokio::io::{AsyncRead, AsyncReadExt};

/// What is kept of a line.
const LONGEST_LINE: usize = 1024;

/// Hears a stream to its end: keeps its beginning, and the last line that is not blank.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The first bytes, up to the limit.
    pub(super) beginning: Vec<u8>,
    /// Whether there were more.
    pub(super) is_longer: bool,
    last: Option<String>,
    line: Vec<u8>,
}

impl Heard {
    /// The last line that is not blank, fit to be shown and stored.
    pub(super) fn last_line(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Hears until the stream ends; `line` is told of each line that is not blank.
    pub(super) async fn listen(
        &mut self,
        stream: Option<impl AsyncRead + Unpin>,
        keep: usize,
        mut line: impl FnMut(&str),
    ) {
        let Some(mut stream) = stream else { return };
        let mut chunk = [0; 4096];
        loop {
            match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(read) => self.take(chunk.get(..read).unwrap_or_default(), keep, &mut line),
            }
        }
        self.end_line(&mut line);
    }

    fn take(&mut self, bytes: &[u8], keep: usize, line: &mut impl FnMut(&str)) {
        let room = keep.saturating_sub(self.beginning.len());
        self.beginning.extend(bytes.iter().take(room));
        self.is_longer |= bytes.len() > room;
        for &byte in bytes {
            match byte {
                b'\n' => self.end_line(line),
                _ if self.line.len() < LONGEST_LINE => self.line.push(byte),
                _ => {}
            }
        }
    }

    fn end_line(&mut self, line: &mut impl FnMut(&str)) {
        let text = fit(&std::mem::take(&mut self.line));
        if !text.is_empty() {
            line(&text);
            self.last = Some(text);
        }
    }
}

/// Control characters are written as what they are, so that nothing moves a terminal's cursor.
fn fit(line: &[u8]) -> String {
    let mut fit = String::new();
    for c in String::from_utf8_lossy(line).trim().chars() {
        match c {
            '\t' => fit.push(' '),
            c if c.is_control() => fit.extend(c.escape_default()),
            c => fit.push(c),
        }
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard(bytes: &[u8], keep: usize) -> (Heard, Vec<String>) {
        let mut heard = Heard::default();
        let mut lines = Vec::new();
        let mut told = |line: &str| lines.push(line.to_owned());
        heard.listen(Some(bytes), keep, &mut told).await;
        (heard, lines)
    }

    #[tokio::test]
    async fn the_last_line_that_is_not_blank_is_kept() {
        let (all, lines) = heard(b"first\n\nlast one  \r\n \n\n", 0).await;
        assert_eq!(all.last_line(), Some("last one"));
        assert_eq!(lines, ["first", "last one"]);
        assert_eq!(heard(b"\n \n", 0).await.0.last_line(), None);
        assert_eq!(
            heard(b"without an end", 0).await.0.last_line(),
            Some("without an end")
        );
    }

    #[tokio::test]
    async fn control_characters_and_broken_text_are_shown_and_not_obeyed() {
        let (all, _) = heard(b"\x1b[31mno\0 \xff power\x07\n", 0).await;
        let fit = "\\u{1b}[31mno\\u{0} \u{fffd} power\\u{7}";
        assert_eq!(all.last_line(), Some(fit));
    }

    #[tokio::test]
    async fn memory_is_bounded_whatever_is_printed() {
        let long = vec![b'x'; 1_000_000];
        let (all, _) = heard(&long, 10).await;
        assert_eq!((all.beginning.len(), all.is_longer), (10, true));
        assert_eq!(all.last_line().map(str::len), Some(LONGEST_LINE));
        let (all, _) = heard(b"0123456789", 10).await;
        assert!(!all.is_longer);
    }
}
