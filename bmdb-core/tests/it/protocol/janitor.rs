//! The janitor, and the deadlines of sessions, which pass and which heartbeats move.

use super::state::{Janitor, Outcome, Row, State, Violation, WorkerId};
use super::{Guard, Protocol};

impl Protocol {
    /// A statement's snapshot shows an expired session and its claims.
    pub(super) fn search(&self, mut state: State, session: WorkerId) -> Option<State> {
        let finds_it = state.janitor == Janitor::Idle && state.sessions[session].row == Row::Passed;
        let items = state.claimed_by(session);
        state.janitor = Janitor::Found { session, items };
        finds_it.then_some(state)
    }

    /// The janitor's next step; `None` while it has to wait for a lock.
    pub(super) fn reclaim(&self, mut state: State) -> Option<State> {
        match state.janitor {
            Janitor::Idle => return None,
            Janitor::Found { session, items } => {
                let locked = state.sessions[session].heartbeat_open
                    || self.requests_lock_session(&state, session);
                state.janitor = if self.has(Guard::DeadlineOfLockedRow) {
                    // SKIP LOCKED, and the condition is evaluated on the row that was locked.
                    match state.sessions[session].row {
                        Row::Passed if !locked => Janitor::Locked { session, items },
                        _ => Janitor::Idle,
                    }
                } else if locked {
                    return None;
                } else {
                    Janitor::Locked { session, items }
                };
            }
            Janitor::Locked { session, items } => {
                let items = match self.has(Guard::ItemsReadLater) {
                    true => state.claimed_by(session),
                    false => items,
                };
                if (0..2).any(|item| items[item] && state.item_is_locked(item, None)) {
                    return None;
                }
                state.janitor = Janitor::Read { session, items };
            }
            Janitor::Read { session, items } => free(&mut state, session, items),
        }
        Some(state)
    }

    /// A deadline passes, possibly while a heartbeat is about to move it.
    pub(super) fn pass_deadline(mut state: State, session: WorkerId) -> Option<State> {
        let is_live = state.sessions[session].row == Row::Live;
        state.sessions[session].row = Row::Passed;
        is_live.then_some(state)
    }

    /// A heartbeat locks its row and checks the deadline.
    pub(super) fn check_deadline(mut state: State, session: WorkerId) -> Option<State> {
        let row = state.sessions[session];
        let goes_on =
            row.row == Row::Live && !row.heartbeat_open && !state.janitor_locks_session(session);
        state.sessions[session].heartbeat_open = true;
        goes_on.then_some(state)
    }

    /// The heartbeat commits: its session has the whole lease again, even if its deadline has passed.
    pub(super) fn commit_heartbeat(mut state: State, session: WorkerId) -> Option<State> {
        let was_beating = std::mem::take(&mut state.sessions[session].heartbeat_open);
        state.sessions[session].row = Row::Live;
        was_beating.then_some(state)
    }
}

fn free(state: &mut State, session: WorkerId, listed: [bool; 2]) {
    for (item, is_listed) in listed.into_iter().enumerate() {
        let Some(claim) = state.items[item].claim else {
            continue;
        };
        if claim.session == session {
            if is_listed {
                state.record(claim.fence, Outcome::Expired);
            } else {
                state.violate(Violation::FreedUnrecorded);
            }
            state.items[item].claim = None;
            state.items[item].backing_off = true;
        }
    }
    if state.sessions[session].row != Row::Passed {
        state.violate(Violation::DeletedLiveSession);
    }
    state.sessions[session].row = Row::Deleted;
    state.janitor = Janitor::Idle;
}
