//! The janitor's turn, and what time does to sessions: deadlines pass, heartbeats move them.

use super::state::{Janitor, Outcome, Row, State, Violation, Who};
use super::{Guard, Protocol};

impl Protocol {
    /// A statement's snapshot shows an expired session, and what it holds.
    pub(super) fn look(&self, mut state: State, session: Who) -> Option<State> {
        let finds_it = state.janitor == Janitor::Idle && state.sessions[session].row == Row::Passed;
        let items = state.held_by(session);
        state.janitor = Janitor::Looked { session, items };
        finds_it.then_some(state)
    }

    /// The janitor's next step; `None` while it has to wait for somebody's lock.
    pub(super) fn clean(&self, mut state: State) -> Option<State> {
        match state.janitor {
            Janitor::Idle => return None,
            Janitor::Looked { session, items } => {
                let locked =
                    state.sessions[session].beating || self.session_is_shared(&state, session);
                state.janitor = if self.has(Guard::DeadlineOfTheLockedRow) {
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
                let items = match self.has(Guard::ItemsOfALaterStatement) {
                    true => state.held_by(session),
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

    /// A deadline passes, also while a heartbeat is about to move it.
    pub(super) fn pass(mut state: State, session: Who) -> Option<State> {
        let is_live = state.sessions[session].row == Row::Live;
        state.sessions[session].row = Row::Passed;
        is_live.then_some(state)
    }

    /// A heartbeat locks its row and judges the deadline.
    pub(super) fn judge(mut state: State, session: Who) -> Option<State> {
        let row = state.sessions[session];
        let goes_on = row.row == Row::Live && !row.beating && !state.session_is_taken(session);
        state.sessions[session].beating = true;
        goes_on.then_some(state)
    }

    /// It commits, and its session has all of its lease again, whatever has passed meanwhile.
    pub(super) fn beat(mut state: State, session: Who) -> Option<State> {
        let was_beating = std::mem::take(&mut state.sessions[session].beating);
        state.sessions[session].row = Row::Live;
        was_beating.then_some(state)
    }
}

fn free(state: &mut State, session: Who, listed: [bool; 2]) {
    for (item, is_listed) in listed.into_iter().enumerate() {
        let Some(held) = state.items[item].holder else {
            continue;
        };
        if held.session == session {
            if is_listed {
                state.record(held.fence, Outcome::Expired);
            } else {
                state.violate(Violation::FreedWithoutARecord);
            }
            state.items[item].holder = None;
            state.items[item].backing_off = true;
        }
    }
    if state.sessions[session].row != Row::Passed {
        state.violate(Violation::DeletedALiveSession);
    }
    state.sessions[session].row = Row::Deleted;
    state.janitor = Janitor::Idle;
}
