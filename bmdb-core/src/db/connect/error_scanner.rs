//! Scanner: finds the errors in the bytes that a server sends, without holding them up.
//!
//! diesel-async hides the SQLSTATE of an error, so it is read here and kept by
//! [`bmdb_model::internal::sqlstate`] until the error is classified.

use bmdb_model::internal::sqlstate::SqlState;

/// The type of an `ErrorResponse`. A `NoticeResponse` (`N`) is not an error, whatever its code.
const ERROR: u8 = b'E';

/// How much of an error is kept. The code precedes the message, and no server writes messages this long.
const LONGEST_ERROR: usize = 64 * 1024;

/// An error that a server reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerError {
    pub(super) code: SqlState,
    /// In the server's language, as tokio-postgres decodes it.
    pub(super) message: String,
    /// Whether the server ends the connection with it.
    pub(super) is_fatal: bool,
}

/// The state of reading a stream of messages: a type byte, a length that includes itself, and a body.
#[derive(Debug, Default)]
pub(super) enum ErrorScanner {
    /// Expects a message; some bytes of its header are known already.
    #[default]
    Between,
    Header(Header),
    /// In the body of a message that is no error.
    Skipping {
        left: usize,
    },
    /// In the body of an error.
    Collecting {
        body: Vec<u8>,
        left: usize,
    },
    /// The server violates the protocol; tokio-postgres closes the connection.
    Lost,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Header {
    bytes: [u8; 5],
    known: usize,
}

impl ErrorScanner {
    /// Reads the next bytes, which may begin and end anywhere in a message.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut found: impl FnMut(ServerError)) {
        while !bytes.is_empty() {
            *self = match std::mem::replace(self, Self::Lost) {
                Self::Between => Self::Header(Header::default()),
                Self::Header(mut header) => match header.read(&mut bytes) {
                    None => Self::Header(header),
                    Some((tag, length)) => Self::body(tag, length),
                },
                Self::Skipping { left } => {
                    let passed = left.min(bytes.len());
                    bytes = &bytes[passed..];
                    Self::skipping(left - passed)
                }
                Self::Collecting { mut body, left } => {
                    let passed = left.min(bytes.len());
                    let kept = passed.min(LONGEST_ERROR - body.len());
                    body.extend_from_slice(&bytes[..kept]);
                    bytes = &bytes[passed..];
                    if left > passed {
                        let left = left - passed;
                        Self::Collecting { body, left }
                    } else {
                        if let Some(error) = parse(&body) {
                            found(error);
                        }
                        Self::Between
                    }
                }
                Self::Lost => return,
            };
        }
    }

    fn body(tag: u8, length: usize) -> Self {
        // The length counts its own four bytes.
        match length.checked_sub(4) {
            None => Self::Lost,
            Some(left) if tag == ERROR && left > 0 => Self::Collecting {
                body: Vec::new(),
                left,
            },
            Some(left) => Self::skipping(left),
        }
    }

    fn skipping(left: usize) -> Self {
        if left == 0 {
            Self::Between
        } else {
            Self::Skipping { left }
        }
    }
}

impl Header {
    /// The type and length of the message, once all of the header has been read.
    fn read(&mut self, bytes: &mut &[u8]) -> Option<(u8, usize)> {
        let (unknown, rest) = self
            .bytes
            .split_at_mut(self.known)
            .1
            .split_at_mut(bytes.len().min(5 - self.known));
        let (new, later) = bytes.split_at(unknown.len());
        unknown.copy_from_slice(new);
        let is_whole = rest.is_empty();
        self.known += new.len();
        *bytes = later;
        let [tag, length @ ..] = self.bytes;
        let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
        is_whole.then_some((tag, length))
    }
}

/// The code and message among the fields of an error, each a type byte and a text that ends with a NUL.
fn parse(body: &[u8]) -> Option<ServerError> {
    let field = |wanted: u8| {
        body.split(|byte| *byte == 0)
            .find_map(|field| field.strip_prefix(&[wanted]))
    };
    Some(ServerError {
        code: SqlState::parse(field(b'C')?)?,
        message: String::from_utf8_lossy(field(b'M')?).into_owned(),
        // The severity in English, unlike `S`.
        is_fatal: matches!(field(b'V'), Some(b"FATAL" | b"PANIC")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(tag: u8, body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len() + 4).unwrap();
        [&[tag], &length.to_be_bytes()[..], body].concat()
    }

    fn error(code: &str, text: &str) -> Vec<u8> {
        let body = format!("SFEHLER\0VERROR\0C{code}\0M{text}\0Fpostgres.c\0\0");
        message(ERROR, body.as_bytes())
    }

    /// What is found if the bytes come in pieces of these lengths, in turn.
    fn scan(bytes: &[u8], pieces: &[usize]) -> Vec<(String, String)> {
        let mut scanner = ErrorScanner::default();
        let mut found = Vec::new();
        let mut rest = bytes;
        for piece in pieces.iter().cycle() {
            let (piece, later) = rest.split_at(rest.len().min(*piece));
            scanner.read(piece, |error| {
                found.push((error.code.as_str().to_owned(), error.message));
            });
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        found
    }

    /// Any message that a server may send, and the error in it.
    fn messages() -> impl Strategy<Value = (Vec<u8>, Option<(String, String)>)> {
        let other = (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40))
            .prop_filter("an error", |(tag, _)| *tag != ERROR)
            .prop_map(|(tag, body)| (message(tag, &body), None));
        let error = ("[0-9A-Z]{5}", "[^\0]{0,30}")
            .prop_map(|(code, text)| (error(&code, &text), Some((code, text))));
        prop_oneof![other, error]
    }

    proptest! {
        #[test]
        fn every_error_is_found_once_and_in_order_however_the_bytes_are_cut(
            messages in prop::collection::vec(messages(), 0..12),
            pieces in prop::collection::vec(1usize..20, 1..8),
        ) {
            let (bytes, errors): (Vec<_>, Vec<_>) = messages.into_iter().unzip();
            let errors: Vec<_> = errors.into_iter().flatten().collect();
            let bytes = bytes.concat();
            prop_assert_eq!(&scan(&bytes, &pieces), &errors);
            prop_assert_eq!(&scan(&bytes, &[bytes.len().max(1)]), &errors);
        }

        #[test]
        fn no_bytes_make_it_fail(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            pieces in prop::collection::vec(1usize..20, 1..8),
        ) {
            scan(&bytes, &pieces);
        }
    }

    #[test]
    fn an_error_that_ends_the_connection_is_known_in_any_language() {
        for (severity, is_fatal) in [("ERROR", false), ("FATAL", true), ("PANIC", true)] {
            let body = format!("SFEHLER\0V{severity}\0C53100\0Mvoll\0\0");
            let error = parse(body.as_bytes()).unwrap();
            assert_eq!(error.is_fatal, is_fatal, "{severity}");
        }
    }

    #[test]
    fn a_violation_of_the_protocol_ends_the_search() {
        let broken = [&b"Z\0\0\0\x03"[..], &error("57014", "after it")].concat();
        assert_eq!(scan(&broken, &[7]), []);
    }

    #[test]
    fn an_endless_error_is_read_with_bounded_memory() {
        let long = "x".repeat(2 * LONGEST_ERROR);
        let after = error("57014", "the next");
        let found = scan(&[error("53100", &long), after].concat(), &[1000]);
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0, "53100");
        assert!(found[0].1.len() < LONGEST_ERROR);
        assert_eq!(found[1], ("57014".to_owned(), "the next".to_owned()));
    }
}
