//! Heartbeats as lines of standard input.

use crate::machine_arg::MachineArg;
use bmdb_model::{MachineId, Provider};
use chrono::{DateTime, Utc};
use std::fmt;
use std::io::{self, BufRead, Read};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// The longest line, in bytes.
const LONGEST_LINE: usize = 4096;

/// How many lines may wait until the sender has to.
const WAITING: usize = 10_000;

/// A machine as a heartbeat names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Id(MachineId),
    Provided(Provider, String),
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Provided(provider, id) => write!(f, "{provider}/{id}"),
        }
    }
}

/// A heartbeat.
#[derive(Debug, Clone)]
pub(super) struct Heartbeat {
    pub(super) line: u64,
    pub(super) name: Name,
    /// When the agent sent it; `None` is the time of the write.
    pub(super) at: Option<DateTime<Utc>>,
    pub(super) arrived: Instant,
}

/// A line, by its number.
#[derive(Debug)]
pub(super) enum Line {
    Heartbeat(Heartbeat),
    Invalid(u64, String),
}

/// Reads standard input in a thread, because reading blocks for as long as nobody writes. The channel is
/// closed at the end of the input.
///
/// # Errors
/// When the operating system refuses to start a thread.
pub(super) fn read() -> io::Result<mpsc::Receiver<Line>> {
    let (sender, receiver) = mpsc::channel(WAITING);
    let read = move || {
        let mut input = io::stdin().lock();
        for number in 1.. {
            let (line, is_last) = match next_line(&mut input) {
                Ok(None) => return,
                Ok(Some(text)) => (text.and_then(|text| parse(&text, number)), false),
                Err(error) => (Err(format!("cannot read: {error}")), true),
            };
            let line = match line {
                Ok(None) => continue,
                Ok(Some(heartbeat)) => Line::Heartbeat(heartbeat),
                Err(why) => Line::Invalid(number, why),
            };
            if sender.blocking_send(line).is_err() || is_last {
                return;
            }
        }
    };
    std::thread::Builder::new().spawn(read)?;
    Ok(receiver)
}

/// The next line, or why it is none; `None` at the end. Of a line that is too long, the rest is skipped.
fn next_line(input: &mut impl BufRead) -> io::Result<Option<Result<String, String>>> {
    let (mut line, mut is_too_long) = (Vec::new(), false);
    loop {
        let longest = u64::try_from(LONGEST_LINE).unwrap_or(u64::MAX);
        let read = input.by_ref().take(longest).read_until(b'\n', &mut line)?;
        if read < LONGEST_LINE || line.last() == Some(&b'\n') {
            break;
        }
        is_too_long = true;
        line.clear();
    }
    if is_too_long {
        return Ok(Some(Err(format!("{LONGEST_LINE} bytes or longer"))));
    }
    if line.is_empty() {
        return Ok(None);
    }
    Ok(Some(text(line)))
}

/// The text of a line, without the mark that some programs write at the beginning of a file.
fn text(line: Vec<u8>) -> Result<String, String> {
    let text = String::from_utf8(line).map_err(|error| {
        let at = error.utf8_error().valid_up_to() + 1;
        format!("not UTF-8 from byte {at} of the line on")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    // Otherwise lines that end with a carriage return only would be one long name.
    match text.trim().find(['\0', '\r']) {
        None => Ok(text.to_owned()),
        Some(at) if text.trim()[at..].starts_with('\0') => {
            Err("contains a NUL byte: is it UTF-16? Write UTF-8".to_owned())
        }
        Some(_) => Err("contains a carriage return: end each line with a line feed".to_owned()),
    }
}

/// A heartbeat; `None` for an empty line.
fn parse(text: &str, line: u64) -> Result<Option<Heartbeat>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let (machine, at) = match text.rsplit_once(char::is_whitespace) {
        Some((machine, time)) if begins_like_a_time(time) => (machine.trim_end(), Some(time)),
        _ => (text, None),
    };
    let at = at.map(|time| {
        let parsed = DateTime::parse_from_rfc3339(time);
        parsed.map(|time| time.with_timezone(&Utc)).map_err(|_| {
            format!("invalid time {time:?}: expected one such as 2026-11-30T05:34:25Z")
        })
    });
    let name = match machine.parse()? {
        MachineArg::Id(id) => Name::Id(id),
        MachineArg::Provided(provider, id) => Name::Provided(provider, id),
        MachineArg::Prefix(_) => {
            return Err("expected a complete id or Provider/provider_id".to_owned());
        }
    };
    Ok(Some(Heartbeat {
        line,
        name,
        at: at.transpose()?,
        arrived: Instant::now(),
    }))
}

/// Provider ids may contain blanks, so not every last word is a time.
fn begins_like_a_time(word: &str) -> bool {
    let bytes = word.as_bytes();
    bytes.len() > 4 && bytes[..4].iter().all(u8::is_ascii_digit) && bytes[4] == b'-'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Name, Option<String>) {
        let heartbeat = parse(text, 1).unwrap().unwrap();
        (heartbeat.name, heartbeat.at.map(|at| at.to_rfc3339()))
    }

    #[test]
    fn a_line_is_a_machine_and_perhaps_a_time() {
        let id = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        let rack = |id: &str| Name::Provided("fra1".parse().unwrap(), id.to_owned());
        assert_eq!(parsed(id), (Name::Id(id.parse().unwrap()), None));
        assert_eq!(parsed(" fra1/a-7 \r\n"), (rack("a-7"), None));
        assert_eq!(parsed("fra1/rack a 7"), (rack("rack a 7"), None));
        let at = Some("2026-11-30T05:34:25+00:00".to_owned());
        assert_eq!(parsed("fra1/a  2026-11-30T06:34:25+01:00"), (rack("a"), at));
        assert!(parse("  \n", 1).unwrap().is_none());
        for (bad, why) in [
            ("67e5", "a complete id"),
            ("rack", "expected an id"),
            ("fra1/a 2026-13-30T05:34:25Z", "invalid time"),
            ("fra1/", "is missing"),
        ] {
            let refused = parse(bad, 1).unwrap_err();
            assert!(refused.contains(why), "{bad}: {refused}");
        }
    }

    #[test]
    fn lines_that_are_too_long_or_no_text_are_invalid_and_the_next_one_is_read() {
        let long = "x".repeat(3 * LONGEST_LINE);
        let text = [long.as_bytes(), b"\nfra1/a\n\xff\nfra1/b"].concat();
        let mut input = io::BufReader::new(&text[..]);
        let lines: Vec<_> = std::iter::from_fn(|| next_line(&mut input).unwrap()).collect();
        assert_eq!(lines.len(), 4, "{lines:?}");
        assert!(lines[0].as_ref().unwrap_err().contains("or longer"));
        assert_eq!(lines[1].as_deref(), Ok("fra1/a\n"));
        assert_eq!(
            lines[2],
            Err("not UTF-8 from byte 1 of the line on".to_owned())
        );
        assert_eq!(lines[3].as_deref(), Ok("fra1/b"));
    }

    /// A spreadsheet's export once became machines with line ends in their names.
    #[test]
    fn what_other_systems_write_is_taken_or_named() {
        let line = |bytes: &[u8]| text(bytes.to_vec());
        assert_eq!(line(b"\xef\xbb\xbffra1/a\r\n").as_deref(), Ok("fra1/a\r\n"));
        for (bytes, why) in [
            (&b"fra1/a\rfra1/b\r"[..], "a carriage return"),
            (b"f\0r\0a\0", "UTF-16"),
            (b"\xff\xfef\0", "not UTF-8 from byte 1"),
        ] {
            let error = line(bytes).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
}
