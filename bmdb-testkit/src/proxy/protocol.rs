//! Splits one direction of a connection into messages of PostgreSQL's protocol.

/// A connection's startup packet, which has no kind on the wire.
pub(super) const START: u8 = 0;
/// A request for TLS or GSSAPI encryption; the server answers with a single byte.
pub(super) const ENCRYPT: u8 = 1;
/// Bytes that cannot be split: they are encrypted, or not PostgreSQL's protocol.
pub(super) const OPAQUE: u8 = 2;
/// A simple query.
pub(super) const QUERY: u8 = b'Q';
/// The end of one or more extended queries.
pub(super) const SYNC: u8 = b'S';
/// A statement to prepare: its name and its text.
pub(super) const PARSE: u8 = b'P';
/// A prepared statement to run: a portal's name, the statement's name, parameters.
pub(super) const BIND: u8 = b'B';
/// A function call.
pub(super) const FUNCTION: u8 = b'F';
/// The server is ready for the next request.
pub(super) const READY: u8 = b'Z';
/// The server waits for the data of a COPY.
pub(super) const COPY_IN: u8 = b'G';
/// The server waits for the data of a replication.
pub(super) const COPY_BOTH: u8 = b'W';
/// The server accepts the client, or waits for its password.
pub(super) const AUTHENTICATION: u8 = b'R';

const CANCEL_CODE: &[u8] = &80_877_102_u32.to_be_bytes();
const TLS_CODE: &[u8] = &80_877_103_u32.to_be_bytes();
const GSSAPI_CODE: &[u8] = &80_877_104_u32.to_be_bytes();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// A length and a code: a client's first packets.
    Startup,
    /// One byte: the server's answer to a request for encryption.
    EncryptionAnswer,
    /// A kind and a length.
    Messages,
    Opaque,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub(super) kind: u8,
    pub(super) body: &'a [u8],
}

impl Format {
    /// Takes the next message off `bytes`; `None` if they do not contain its end.
    pub(super) fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Option<Message<'a>> {
        let prefix = match self {
            Self::Startup => 0,
            Self::Messages => 1,
            Self::EncryptionAnswer => {
                let (answer, rest) = bytes.split_first()?;
                // `N` is no. Any other answer is encryption, or an error that ends the connection.
                *self = match answer {
                    b'N' => Self::Messages,
                    _ => Self::Opaque,
                };
                *bytes = rest;
                return self.next(bytes);
            }
            Self::Opaque if bytes.is_empty() => return None,
            Self::Opaque => {
                let body = std::mem::take(bytes);
                return Some(Message { kind: OPAQUE, body });
            }
        };
        let length: &[u8; 4] = bytes.get(prefix..)?.first_chunk()?;
        let length = u32::from_be_bytes(*length) as usize;
        if length < 8 - 4 * prefix {
            *self = Self::Opaque;
            return self.next(bytes);
        }
        let (message, rest) = bytes.split_at_checked(prefix + length)?;
        *bytes = rest;
        let kind = match self {
            Self::Startup => self.startup_kind(&message[4..8]),
            _ => message[0],
        };
        let body = &message[prefix + 4..];
        Some(Message { kind, body })
    }

    /// The kind of a startup packet with this code, which also decides what follows.
    fn startup_kind(&mut self, code: &[u8]) -> u8 {
        match code {
            TLS_CODE | GSSAPI_CODE => return ENCRYPT,
            CANCEL_CODE => *self = Self::Opaque,
            _ => *self = Self::Messages,
        }
        START
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x0a\0\x03\0\0a\0";

    fn kinds(format: &mut Format, mut bytes: &[u8]) -> (Vec<u8>, usize) {
        let kinds = std::iter::from_fn(|| format.next(&mut bytes).map(|message| message.kind));
        (kinds.collect(), bytes.len())
    }

    #[test]
    fn a_message_is_whole_once_its_last_byte_has_come() {
        let all = [STARTED, b"Q\0\0\0\x06x\0S\0\0\0\x04X\0\0\0\x04"].concat();
        let expected = [
            (8, ENCRYPT),
            (18, START),
            (25, QUERY),
            (30, SYNC),
            (35, b'X'),
        ];
        for length in 0..=all.len() {
            let whole = expected.iter().take_while(|(end, _)| *end <= length);
            let (ends, expected): (Vec<usize>, Vec<u8>) = whole.copied().unzip();
            let left = length - ends.last().unwrap_or(&0);
            assert_eq!(
                kinds(&mut Format::Startup, &all[..length]),
                (expected, left)
            );
        }
    }

    #[test]
    fn a_message_has_its_body() {
        let mut bytes = &b"P\0\0\0\x12s1\0COMMIT\0\0\0\0\0Z"[..];
        let body = b"s1\0COMMIT\0\0\0\0\0";
        let parse = Message { kind: PARSE, body };
        assert_eq!(Format::Messages.next(&mut bytes), Some(parse));
        assert_eq!(bytes, b"Z");
    }

    #[test]
    fn another_protocol_is_opaque() {
        let all = (vec![OPAQUE], 0);
        assert_eq!(kinds(&mut Format::Startup, b"\0\0\0\0\0\0\0\0"), all);
        assert_eq!(kinds(&mut Format::Messages, b"Z\0\0\0\x03"), all);
    }

    #[test]
    fn messages_follow_a_refused_encryption_and_opaque_bytes_an_accepted_one() {
        for (answer, expected) in [(b'N', READY), (b'S', OPAQUE)] {
            let bytes = [&[answer], &b"Z\0\0\0\x05I"[..]].concat();
            let mut format = Format::EncryptionAnswer;
            assert_eq!(kinds(&mut format, &bytes), (vec![expected], 0));
        }
    }
}
