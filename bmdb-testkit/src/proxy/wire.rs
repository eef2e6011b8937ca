//! Where messages of PostgreSQL's protocol end in a stream of bytes.

/// A connection's first packet, which has no kind of its own on the wire.
pub(super) const START: u8 = 0;
/// The question for encryption, by TLS or GSSAPI; the server answers with a single byte.
pub(super) const ENCRYPT: u8 = 1;
/// A simple query.
pub(super) const QUERY: u8 = b'Q';
/// The end of an extended query, or of several.
pub(super) const SYNC: u8 = b'S';
/// A statement to prepare: its name and its text.
pub(super) const PARSE: u8 = b'P';
/// A prepared statement to run: a portal's name, the statement's name, parameters.
pub(super) const BIND: u8 = b'B';
/// A function call, which hardly anybody uses.
pub(super) const FUNCTION: u8 = b'F';
/// The server is ready for the next request.
pub(super) const READY: u8 = b'Z';
/// The server waits for the data of a COPY.
pub(super) const COPY_IN: u8 = b'G';
/// The server waits for the data of a replication.
pub(super) const COPY_BOTH: u8 = b'W';
/// The server says that the client is welcome, or waits for its password.
pub(super) const AUTHENTICATION: u8 = b'R';

const CANCEL_CODE: u32 = 80_877_102;
const TLS_CODE: u32 = 80_877_103;
const GSSAPI_CODE: u32 = 80_877_104;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Packets of a length and a code.
    Start,
    /// A byte without a frame: whether there will be encryption.
    Byte,
    /// Messages of a kind and a length.
    Messages,
    /// Encrypted, or not the protocol at all.
    Opaque,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Messages {
    phase: Phase,
    head: Vec<u8>,
    /// How many bytes of the message are still to come after its head.
    left: usize,
    /// What has come of its body, where somebody wants to read it.
    body: Vec<u8>,
}

/// A message whose end has come.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) kind: u8,
    /// Its body, of a client's `Parse` and `Bind`; empty for others.
    pub(super) body: &'a [u8],
    /// How many of the bytes that were read last are of it or before it.
    pub(super) end: usize,
}

/// The first two strings of a body, each with the zero that ends it.
pub(super) fn two_strings(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut strings = body.split_inclusive(|byte| *byte == 0);
    Some((strings.next()?, strings.next()?))
}

impl Messages {
    pub(super) fn of_client() -> Self {
        Self::new(Phase::Start)
    }

    pub(super) fn of_server() -> Self {
        Self::new(Phase::Messages)
    }

    fn new(phase: Phase) -> Self {
        Self {
            phase,
            head: Vec::with_capacity(8),
            left: 0,
            body: Vec::new(),
        }
    }

    /// The client has asked for encryption, and this, the server's side, answers by a byte.
    pub(super) fn expect_byte(&mut self) {
        self.phase = Phase::Byte;
    }

    /// The rest cannot be read.
    pub(super) fn make_opaque(&mut self) {
        self.phase = Phase::Opaque;
    }

    pub(super) fn is_opaque(&self) -> bool {
        self.phase == Phase::Opaque
    }

    /// Whether the next byte begins a message.
    pub(super) fn is_between(&self) -> bool {
        self.head.is_empty()
    }

    /// Calls `ended` with each message whose end these bytes contain.
    pub(super) fn read(&mut self, mut bytes: &[u8], mut ended: impl FnMut(Message<'_>)) {
        let all = bytes.len();
        while !bytes.is_empty() {
            let head = match self.phase {
                Phase::Start => 8,
                Phase::Messages => 5,
                Phase::Byte => {
                    // `N` is no; everything else is encrypted, or an error before the end.
                    self.phase = match bytes[0] {
                        b'N' => Phase::Messages,
                        _ => Phase::Opaque,
                    };
                    bytes = &bytes[1..];
                    continue;
                }
                Phase::Opaque => return,
            };
            if self.head.len() < head {
                let (more, rest) = bytes.split_at(bytes.len().min(head - self.head.len()));
                self.head.extend_from_slice(more);
                bytes = rest;
                if self.head.len() < head {
                    return;
                }
                let counted = if head == 8 { 8 } else { 4 };
                match (self.number(head - counted) as usize).checked_sub(counted) {
                    Some(left) => self.left = left,
                    None => return self.make_opaque(),
                }
            }
            let (body, rest) = bytes.split_at(bytes.len().min(self.left));
            self.left -= body.len();
            bytes = rest;
            if self.phase == Phase::Messages && matches!(self.head[0], PARSE | BIND) {
                self.body.extend_from_slice(body);
            }
            if self.left == 0 {
                let kind = self.kind();
                self.head.clear();
                ended(Message {
                    kind,
                    body: &self.body,
                    end: all - bytes.len(),
                });
                self.body.clear();
            }
        }
    }

    /// The kind of the message whose head is complete; what follows a start is decided here.
    fn kind(&mut self) -> u8 {
        if self.phase == Phase::Messages {
            return self.head[0];
        }
        match self.number(4) {
            TLS_CODE | GSSAPI_CODE => ENCRYPT,
            CANCEL_CODE => {
                self.phase = Phase::Opaque;
                START
            }
            _ => {
                self.phase = Phase::Messages;
                START
            }
        }
    }

    fn number(&self, at: usize) -> u32 {
        self.head[at..at + 4]
            .iter()
            .fold(0, |number, byte| number << 8 | u32::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STARTED: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f\0\0\0\x0a\0\x03\0\0a\0";

    fn kinds(mut messages: Messages, parts: &[&[u8]]) -> (Vec<u8>, bool) {
        let mut kinds = Vec::new();
        for part in parts {
            messages.read(part, |message| kinds.push(message.kind));
        }
        (kinds, messages.is_opaque())
    }

    #[test]
    fn messages_end_where_they_end_however_they_are_split() {
        let all = [STARTED, b"Q\0\0\0\x06x\0S\0\0\0\x04X\0\0\0\x04"].concat();
        let expected = (vec![ENCRYPT, START, QUERY, SYNC, b'X'], false);
        for cut in 0..all.len() {
            let (first, second) = all.split_at(cut);
            assert_eq!(kinds(Messages::of_client(), &[first, second]), expected);
        }
        let single: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(kinds(Messages::of_client(), &single), expected);
    }

    #[test]
    fn a_statements_name_and_text_are_read_however_they_are_split() {
        let all = [
            STARTED,
            b"P\0\0\0\x12s1\0COMMIT\0\0\0\0\0",
            b"B\0\0\0\x08\0s1\0S\0\0\0\x04",
        ]
        .concat();
        for cut in 0..all.len() {
            let (first, second) = all.split_at(cut);
            let mut messages = Messages::of_client();
            let mut read = Vec::new();
            for (part, before) in [(first, 0), (second, cut)] {
                messages.read(part, |Message { kind, body, end }| {
                    if let (PARSE | BIND, Some((first, second))) = (kind, two_strings(body)) {
                        read.push((kind, [first, second].map(<[u8]>::to_vec), before + end));
                    }
                });
            }
            let expected = [
                (PARSE, [b"s1\0".to_vec(), b"COMMIT\0".to_vec()], 37),
                (BIND, [b"\0".to_vec(), b"s1\0".to_vec()], 46),
            ];
            assert_eq!(read, expected, "cut at {cut}");
        }
    }

    #[test]
    fn what_is_not_the_protocol_is_opaque() {
        let opaque = (Vec::new(), true);
        assert_eq!(kinds(Messages::of_client(), &[b"\0\0\0\0\0\0\0\0"]), opaque);
        assert_eq!(kinds(Messages::of_server(), &[b"Z\0\0\0\x03"]), opaque);
    }

    #[test]
    fn a_refused_encryption_is_followed_by_messages_and_an_accepted_one_by_nothing_legible() {
        for (answer, expected) in [(b'N', (vec![READY], false)), (b'S', (Vec::new(), true))] {
            let mut server = Messages::of_server();
            server.expect_byte();
            let answer = &[answer];
            assert_eq!(kinds(server, &[answer, b"Z\0\0\0\x05I"]), expected);
        }
    }
}
