//! Requests: the server's part of the protocol, one step at a time.

use super::state::{
    Claim, FENCES, ItemId, Kind, Outcome, Phase, Request, Row, Slot, State, Sweep, Violation,
};
use super::{Guard, Protocol};

/// An answer of the server.
enum Answer {
    /// The request is committed; of a claim, what it got.
    Done(Option<(ItemId, usize)>),
    /// The session does not have the claim that it wanted to end.
    Lost,
    SessionExpired,
}

impl Protocol {
    /// The next step of a request; `None` while it has to wait for a lock.
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

    /// The snapshot of a claim shows an item that is not backing off, in a free lane.
    fn see(&self, mut state: State, slot: Slot) -> Option<State> {
        let request = state.requests[slot]?;
        let lane_is_free = state.items.iter().all(|item| item.claim.is_none());
        // Each worker prefers its own process, so they compete for the lane and for one item.
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

    /// `SELECT … FOR KEY SHARE` waits for the janitor and reads the row as it is then.
    fn check_fence(
        &self,
        state: &mut State,
        slot: Slot,
        request: Request,
        item: Option<ItemId>,
    ) -> Option<()> {
        if self.locks_its_session(request) && state.janitor_locks_session(request.of) {
            return None;
        }
        match state.sessions[request.of].row {
            Row::Live => advance(state, slot, request, Phase::Fenced(item)),
            Row::Passed | Row::Deleted => answer(state, slot, request, Answer::SessionExpired),
        }
        Some(())
    }

    /// Whether the fence check of a request blocks the janitor: all do, but without the guard only claims.
    fn locks_its_session(&self, request: Request) -> bool {
        self.has(Guard::FenceCheckLocks) || request.kind == Kind::Claim
    }

    /// Whether the fence check of any request blocks the janitor from this session.
    pub(super) fn requests_lock_session(&self, state: &State, session: usize) -> bool {
        state.requests.iter().flatten().any(|request| {
            let fenced = matches!(request.phase, Phase::Fenced(_) | Phase::Written(_));
            request.of == session && fenced && self.locks_its_session(*request)
        })
    }

    /// Locks the item unless it is locked, checks its gates again, and adds the lane to the index, which
    /// waits for a transaction that is just adding or removing it.
    fn write_claim(
        &self,
        state: &mut State,
        slot: Slot,
        request: Request,
        item: ItemId,
    ) -> Option<()> {
        let mate = 1 - item;
        let gates_are_open = state.items[item].claim.is_none() && !state.items[item].backing_off;
        let shut = self.has(Guard::GatesOfLockedRow) && !gates_are_open;
        if state.item_is_locked(item, Some(slot)) || shut || state.drawn == FENCES {
            answer(state, slot, request, Answer::Done(None));
            return Some(());
        }
        if self.has(Guard::LaneIndex) {
            if state.item_is_locked(mate, Some(slot)) {
                return None;
            }
            if state.items[mate].claim.is_some() {
                answer(state, slot, request, Answer::Done(None));
                return Some(());
            }
        }
        advance(state, slot, request, Phase::Written(Some(item)));
        Some(())
    }

    /// Waits for the item's lock; the claim must be the one that this request is to end.
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
        let is_claimed = state.items[item].claim.is_some_and(|claim| {
            claim.session == request.of && (claim.fence == fence || !self.has(Guard::EndNamesFence))
        });
        if is_claimed {
            advance(state, slot, request, Phase::Written(Some(item)));
        } else if self.has(Guard::EndChangesOneRow) {
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
        state.violate(Violation::WroteWithoutSession);
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
            let claim = Claim {
                session: request.of,
                fence,
            };
            if state.items[item].claim == Some(claim) {
                state.record(fence, outcome);
            } else {
                state.violate(Violation::EndedAnotherClaim);
            }
            state.items[item].claim = None;
            state.items[item].backing_off = outcome == Outcome::Failed;
            None
        }
        _ => None,
    };
    answer(state, slot, request, Answer::Done(got));
}

fn commit_claim(state: &mut State, request: Request, item: ItemId) -> (ItemId, usize) {
    if state.items[item].claim.is_some() {
        state.violate(Violation::ClaimedTwice);
    }
    if state.items[1 - item].claim.is_some() {
        state.violate(Violation::TwoInLane);
    }
    if state.items[item].backing_off {
        state.violate(Violation::ClaimedInBackoff);
    }
    let fence = state.drawn;
    state.drawn += 1;
    state.items[item].claim = Some(Claim {
        session: request.of,
        fence,
    });
    (item, fence)
}

/// The request is over. Its worker gets the answer if it still awaits it.
fn answer(state: &mut State, slot: Slot, request: Request, answer: Answer) {
    state.requests[slot] = None;
    let worker = &mut state.workers[request.of];
    if worker.sweep == Sweep::After(slot) {
        worker.sweep = Sweep::Ready;
    }
    if worker.awaits != Some(slot) {
        return;
    }
    worker.awaits = None;
    match (request.kind, answer) {
        (_, Answer::SessionExpired) => {
            worker.is_over = true;
            worker.work = None;
        }
        (Kind::Claim, Answer::Done(got)) => worker.work = got,
        (Kind::End { .. }, _) => worker.work = None,
        _ => {}
    }
}
