//! What client and server of one connection have said to each other, and what of it gets lost.

use super::breakpoint::{Catch, Loss, Traps};
use super::prepared::{Prepared, Runs};
use super::wire::{self, Messages};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// What to do with bytes that are about to be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Pass,
    PassAndCut,
    Swallow,
    Cut,
}

/// What all connections of a proxy have come to.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) requests: AtomicU64,
    /// Those requests that no other one of the same connection was on its way before.
    pub(super) round_trips: AtomicU64,
}

pub(super) struct Talk<'a> {
    traps: &'a Traps,
    counts: &'a Counts,
    state: Mutex<State>,
}

struct State {
    prepared: Prepared,
    client: Messages,
    server: Messages,
    /// Requests so far; the connection's start is one.
    requests: u64,
    /// How many of them the server has not answered yet.
    unanswered: u64,
    /// Whether the last of them ended by a `Sync`.
    extended: bool,
    /// The end of the current request so far, as the trap needs it.
    before: Vec<u8>,
    caught: Option<Caught>,
}

#[derive(Clone, Copy)]
struct Caught {
    catch: Catch,
    /// The requests that had ended before the needle did.
    after: u64,
}

impl<'a> Talk<'a> {
    pub(super) fn new(traps: &'a Traps, counts: &'a Counts) -> Self {
        Self {
            traps,
            counts,
            state: Mutex::new(State {
                prepared: Prepared::default(),
                client: Messages::of_client(),
                server: Messages::of_server(),
                requests: 0,
                unanswered: 0,
                extended: false,
                before: Vec::new(),
                caught: None,
            }),
        }
    }

    /// The client says something.
    pub(super) fn request(&self, bytes: &[u8]) -> Verdict {
        let state = &mut *self.lock();
        let mut bytes = bytes;
        // What seems to be the needle in encrypted bytes is an accident.
        let legible = !state.client.is_opaque();
        let runs = if legible {
            state.prepared.hear(bytes)
        } else {
            Runs::default()
        };
        if state.caught.is_none()
            && legible
            && let Some(catch) = self
                .traps
                .spring(&mut state.before, bytes, |needle| runs.first_with(needle))
        {
            let (before, rest) = bytes.split_at(catch.end - 1);
            let lost_at_once = catch.loss == Loss::Request;
            if !lost_at_once {
                self.hear_client(state, before);
            }
            let after = state.requests;
            state.caught = Some(Caught { catch, after });
            if lost_at_once {
                return Verdict::Cut;
            }
            bytes = rest;
        }
        self.hear_client(state, bytes);
        match state.caught {
            Some(caught) if caught.catch.loss == Loss::Connection && state.has_ended(caught) => {
                Verdict::PassAndCut
            }
            _ => Verdict::Pass,
        }
    }

    /// The server says something.
    pub(super) fn answer(&self, bytes: &[u8]) -> Verdict {
        let state = &mut *self.lock();
        let asks_back = state.hear_server(bytes);
        match state.caught {
            Some(caught) if caught.catch.loss == Loss::Answer => {
                let answered = state.unanswered == 0 || asks_back;
                if answered && state.has_ended(caught) {
                    Verdict::Cut
                } else {
                    Verdict::Swallow
                }
            }
            _ => Verdict::Pass,
        }
    }

    fn hear_client(&self, state: &mut State, bytes: &[u8]) {
        let State {
            client,
            server,
            requests,
            unanswered,
            extended,
            ..
        } = state;
        let mut at_end = false;
        client.read(bytes, |message| {
            at_end = true;
            match message.kind {
                wire::ENCRYPT => server.expect_byte(),
                wire::START => {
                    *requests += 1;
                    *unanswered += 1;
                }
                wire::QUERY | wire::SYNC | wire::FUNCTION => {
                    self.counts.requests.fetch_add(1, Ordering::Relaxed);
                    if *unanswered == 0 {
                        self.counts.round_trips.fetch_add(1, Ordering::Relaxed);
                    }
                    *requests += 1;
                    *unanswered += 1;
                    *extended = message.kind == wire::SYNC;
                }
                _ => at_end = false,
            }
        });
        if at_end && client.is_between() {
            // A needle does not begin in one request and end in another.
            state.before.clear();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Whether the server asks the client for something instead of answering to the end.
    fn hear_server(&mut self, bytes: &[u8]) -> bool {
        let (unanswered, extended) = (&mut self.unanswered, self.extended);
        let mut asks_back = false;
        self.server.read(bytes, |message| match message.kind {
            wire::READY => *unanswered = unanswered.saturating_sub(1),
            wire::COPY_IN | wire::COPY_BOTH | wire::AUTHENTICATION => {
                asks_back = true;
                if message.kind == wire::COPY_IN && extended {
                    // It skips the `Sync`, and answers the one that comes after the data.
                    *unanswered = unanswered.saturating_sub(1);
                }
            }
            _ => {}
        });
        if self.server.is_opaque() {
            self.client.make_opaque();
        }
        asks_back
    }

    /// Whether the whole request that was caught has been said.
    fn has_ended(&self, caught: Caught) -> bool {
        self.requests > caught.after
    }
}

impl Drop for Talk<'_> {
    /// However a connection ends after its trap has sprung, the loss has happened.
    fn drop(&mut self) {
        if let Some(caught) = self.lock().caught {
            self.traps.tell(caught.catch);
        }
    }
}
