//! The conversation of one connection: counts its requests, and decides what of it is lost.

use super::breakpoint::{Breakpoint, Breakpoints, Loss};
use super::protocol::{self, Format, Message};
use crate::lock::lock;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What to do with bytes that are about to be forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Forward,
    ForwardAndCut,
    Discard,
    Cut,
}

/// Sums over all connections of a proxy.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    /// The requests that were sent while their connection had no unanswered one.
    pub(super) round_trips: AtomicU64,
}

pub(super) struct Conversation<'a> {
    breakpoints: &'a Breakpoints,
    counts: &'a Counts,
    state: Mutex<State>,
}

struct State {
    client: Format,
    server: Format,
    /// The texts of the prepared statements by name, each with the zero that ends it on the wire.
    statements: HashMap<Vec<u8>, Vec<u8>>,
    /// How many requests the server has not answered yet.
    unanswered: u64,
    /// Whether the last request ended with a `Sync`.
    is_extended: bool,
    hit: Option<Arc<Breakpoint>>,
    /// Whether the whole request with the hit was sent.
    hit_ended: bool,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(breakpoints: &'a Breakpoints, counts: &'a Counts) -> Self {
        Self {
            breakpoints,
            counts,
            state: Mutex::new(State {
                client: Format::Startup,
                server: Format::Messages,
                statements: HashMap::new(),
                unanswered: 0,
                is_extended: false,
                hit: None,
                hit_ended: false,
            }),
        }
    }

    /// Decides about the whole messages at the start of what the client sends; returns their length.
    pub(super) fn request(&self, bytes: &[u8]) -> (Action, usize) {
        let state = &mut *lock(&self.state);
        let mut rest = bytes;
        while let Some(message) = state.client.next(&mut rest) {
            let statement = state.statement(&message);
            // A match within encrypted bytes would be an accident.
            if state.hit.is_none() && message.kind != protocol::OPAQUE {
                state.hit = self.breakpoints.hit(&[message.body, &statement]);
            }
            if state.loses(Loss::Request) {
                return (Action::Cut, 0);
            }
            self.count(state, message.kind);
        }
        let action = if state.loses(Loss::Connection) && state.hit_ended {
            Action::ForwardAndCut
        } else {
            Action::Forward
        };
        (action, bytes.len() - rest.len())
    }

    /// Decides about the whole messages at the start of what the server sends; returns their length.
    pub(super) fn answer(&self, bytes: &[u8]) -> (Action, usize) {
        let state = &mut *lock(&self.state);
        let mut rest = bytes;
        let mut asks_back = false;
        while let Some(message) = state.server.next(&mut rest) {
            match message.kind {
                protocol::READY => state.unanswered = state.unanswered.saturating_sub(1),
                protocol::COPY_IN => {
                    asks_back = true;
                    // The server skips this `Sync`, and answers the one after the data.
                    state.unanswered -= u64::from(state.is_extended && state.unanswered > 0);
                }
                protocol::COPY_BOTH | protocol::AUTHENTICATION => asks_back = true,
                protocol::OPAQUE => state.client = Format::Opaque,
                _ => {}
            }
        }
        let action = match state.loses(Loss::Answer) {
            false => Action::Forward,
            true if state.hit_ended && (state.unanswered == 0 || asks_back) => Action::Cut,
            true => Action::Discard,
        };
        (action, bytes.len() - rest.len())
    }

    fn count(&self, state: &mut State, kind: u8) {
        match kind {
            protocol::ENCRYPT => {
                state.server = Format::EncryptionAnswer;
                return;
            }
            protocol::START => {}
            protocol::QUERY | protocol::SYNC | protocol::FUNCTION => {
                self.counts.requests.fetch_add(1, Ordering::Relaxed);
                let is_round_trip = u64::from(state.unanswered == 0);
                let round_trips = &self.counts.round_trips;
                round_trips.fetch_add(is_round_trip, Ordering::Relaxed);
                state.is_extended = kind == protocol::SYNC;
            }
            _ => return,
        }
        state.unanswered += 1;
        state.hit_ended = state.hit.is_some();
    }
}

impl State {
    /// The text of the prepared statement that a message runs; empty for other messages.
    fn statement(&mut self, message: &Message<'_>) -> Vec<u8> {
        let mut strings = message.body.split_inclusive(|byte| *byte == 0);
        let (Some(first), Some(second)) = (strings.next(), strings.next()) else {
            return Vec::new();
        };
        match message.kind {
            protocol::PARSE => {
                self.statements.insert(first.to_vec(), second.to_vec());
                Vec::new()
            }
            protocol::BIND => self.statements.get(second).cloned().unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    fn loses(&self, loss: Loss) -> bool {
        self.hit.as_ref().is_some_and(|hit| hit.loss == loss)
    }
}

impl Drop for Conversation<'_> {
    /// Once a breakpoint was hit, its loss has happened however the connection ends.
    fn drop(&mut self) {
        if let Some(hit) = &lock(&self.state).hit {
            hit.lost.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &[u8] = b"\0\0\0\x0a\0\x03\0\0a\0";
    const PARSE: &[u8] = b"P\0\0\0\x12s1\0COMMIT\0\0\0\0\0";
    const BIND: &[u8] = b"B\0\0\0\x08\0s1\0";
    const SYNC: &[u8] = b"S\0\0\0\x04";

    #[test]
    fn a_prepared_statement_is_found_with_the_zero_that_ends_it() {
        let (breakpoints, counts) = (Breakpoints::default(), Counts::default());
        let conversation = Conversation::new(&breakpoints, &counts);
        let prepare = [START, PARSE, SYNC].concat();
        let forwarded = (Action::Forward, prepare.len());
        assert_eq!(conversation.request(&prepare), forwarded);
        breakpoints.set(Loss::Request, b"COMMIT\0");
        assert_eq!(
            conversation.request(&[BIND, SYNC].concat()),
            (Action::Cut, 0)
        );
    }
}
