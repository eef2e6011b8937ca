//! What the server does for a worker, one step at a time: claims, ends, and transactions that write.

use super::state::{
    FENCES, Held, ItemId, Kind, Outcome, Phase, Request, Row, Slot, State, Sweep, Violation,
};
use super::{Guard, Protocol};

/// What a worker is told.
enum Answer {
    /// It has what it asked for; of a claim, what it got.
    Done(Option<(ItemId, usize)>),
    /// It does not hold what it wanted to end.
    Lost,
    SessionExpired,
}

impl Protocol {
    /// The next step of a request; `None` while it has to wait for somebody's lock.
    pub(super) fn step(&self, mut state: State, slot: Slot) -> Option<State> {
        let request = state.requests[slot]?;
        match (request.kind, request.phase) {
            (Kind::Claim, Phase::Sent) => return self.see(state, slot),
            (_, Phase::Sent) => {
                let item = match request.kind {
                    Kind::End { item, .. } => Some(item),
                    _ => None,
                };
                self.check_fence(&mut state, slot, request, item)?;
            }
            (_, Phase::Seen(item)) => self.check_fence(&mut state, slot, request, Some(item))?,
            (Kind::Claim, Phase::Fenced(Some(item))) => {
                self.write_claim(&mut state, slot, request, item)?;
            }
            (Kind::End { item, fence, .. }, Phase::Fenced(_)) => {
                self.write_end(&mut state, slot, request, item, fence)?;
            }
            (Kind::Write | Kind::Claim, Phase::Fenced(_)) => {
                advance(&mut state, slot, request, Phase::Written(None));
            }
            (_, Phase::Written(_)) => commit(&mut state, slot, request),
        }
        Some(state)
    }

    /// The snapshot of a claim shows an item that does not rest, in a lane that nobody holds.
    fn see(&self, mut state: State, slot: Slot) -> Option<State> {
        let request = state.requests[slot]?;
        let lane_is_free = state.items.iter().all(|item| item.holder.is_none());
        // Each worker looks for its own process first: so they meet in the lane, and on one item.
        let own = request.of;
        let found = [own, 1 - own]
            .into_iter()
            .find(|item| lane_is_free && !state.items[*item].backing_off);
        match found {
            Some(item) => advance(&mut state, slot, request, Phase::Seen(item)),
            None => answer(&mut state, slot, request, Answer::Done(None)),
        }
        Some(state)
    }

    /// `SELECT … FOR KEY SHARE` waits for the janitor and looks at the row as it is then.
    fn check_fence(
        &self,
        state: &mut State,
        slot: Slot,
        request: Request,
        item: Option<ItemId>,
    ) -> Option<()> {
        if self.locks_its_session(request) && state.session_is_taken(request.of) {
            return None;
        }
        match state.sessions[request.of].row {
            Row::Live => advance(state, slot, request, Phase::Fenced(item)),
            Row::Passed | Row::Deleted => answer(state, slot, request, Answer::SessionExpired),
        }
        Some(())
    }

    /// Whether the fence check of a request keeps the janitor off: all do, but without the guard
    /// only claims.
    fn locks_its_session(&self, request: Request) -> bool {
        self.has(Guard::FenceCheckLocks) || request.kind == Kind::Claim
    }

    /// Whether somebody's fence check keeps the janitor off this session.
    pub(super) fn session_is_shared(&self, state: &State, session: usize) -> bool {
        state.requests.iter().flatten().any(|request| {
            let fenced = matches!(request.phase, Phase::Fenced(_) | Phase::Written(_));
            request.of == session && fenced && self.locks_its_session(*request)
        })
    }

    /// Locks the item unless somebody has it, looks at its gates again, and enters the lane's index,
    /// which waits for who is just entering or leaving it.
    fn write_claim(
        &self,
        state: &mut State,
        slot: Slot,
        request: Request,
        item: ItemId,
    ) -> Option<()> {
        let mate = 1 - item;
        let gates_are_open = state.items[item].holder.is_none() && !state.items[item].backing_off;
        let shut = self.has(Guard::GatesOfTheLockedRow) && !gates_are_open;
        if state.item_is_locked(item, Some(slot)) || shut || state.drawn == FENCES {
            answer(state, slot, request, Answer::Done(None));
            return Some(());
        }
        if self.has(Guard::LaneIndex) {
            if state.item_is_locked(mate, Some(slot)) {
                return None;
            }
            if state.items[mate].holder.is_some() {
                answer(state, slot, request, Answer::Done(None));
                return Some(());
            }
        }
        advance(state, slot, request, Phase::Written(Some(item)));
        Some(())
    }

    /// Waits for the item's lock; must find the work as this request knows it.
    fn write_end(
        &self,
        state: &mut State,
        slot: Slot,
        request: Request,
        item: ItemId,
        fence: usize,
    ) -> Option<()> {
        if state.item_is_locked(item, Some(slot)) {
            return None;
        }
        let is_held = state.items[item].holder.is_some_and(|held| {
            held.session == request.of
                && (held.fence == fence || !self.has(Guard::EndsNameTheFence))
        });
        if is_held {
            advance(state, slot, request, Phase::Written(Some(item)));
        } else if self.has(Guard::EndsChangeOneRow) {
            answer(state, slot, request, Answer::Lost);
        } else {
            advance(state, slot, request, Phase::Written(None));
        }
        Some(())
    }
}

fn advance(state: &mut State, slot: Slot, request: Request, phase: Phase) {
    state.requests[slot] = Some(Request { phase, ..request });
}

fn commit(state: &mut State, slot: Slot, request: Request) {
    if state.sessions[request.of].row == Row::Deleted {
        state.violate(Violation::WroteWithoutASession);
    }
    let got = match (request.kind, request.phase) {
        (Kind::Claim, Phase::Written(Some(item))) => Some(commit_claim(state, request, item)),
        (
            Kind::End {
                item,
                fence,
                outcome,
            },
            _,
        ) => {
            let held = Held {
                session: request.of,
                fence,
            };
            if state.items[item].holder == Some(held) {
                state.record(fence, outcome);
            } else {
                state.violate(Violation::EndedWhatItDoesNotHold);
            }
            state.items[item].holder = None;
            state.items[item].backing_off = outcome == Outcome::Failed;
            None
        }
        _ => None,
    };
    answer(state, slot, request, Answer::Done(got));
}

fn commit_claim(state: &mut State, request: Request, item: ItemId) -> (ItemId, usize) {
    if state.items[item].holder.is_some() {
        state.violate(Violation::HeldTwice);
    }
    if state.items[1 - item].holder.is_some() {
        state.violate(Violation::TwoInALane);
    }
    if state.items[item].backing_off {
        state.violate(Violation::StartedInsideABackoff);
    }
    let fence = state.drawn;
    state.drawn += 1;
    state.items[item].holder = Some(Held {
        session: request.of,
        fence,
    });
    (item, fence)
}

/// The request is over. Its worker learns of it if it still waits for the answer.
fn answer(state: &mut State, slot: Slot, request: Request, answer: Answer) {
    state.requests[slot] = None;
    let worker = &mut state.workers[request.of];
    if worker.sweep == Sweep::After(slot) {
        worker.sweep = Sweep::Ready;
    }
    if worker.waits != Some(slot) {
        return;
    }
    worker.waits = None;
    match (request.kind, answer) {
        (_, Answer::SessionExpired) => {
            worker.is_over = true;
            worker.holds = None;
        }
        (Kind::Claim, Answer::Done(got)) => worker.holds = got,
        (Kind::End { .. }, _) => worker.holds = None,
        _ => {}
    }
}
