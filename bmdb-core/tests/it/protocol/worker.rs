//! Workers: they send requests, lose answers, and look up the outcomes.

use super::state::{Kind, Outcome, Phase, Request, Row, State, Sweep, WorkerId};
use super::{Guard, Protocol};

impl Protocol {
    /// Sends a request, if the worker is free and has one left.
    pub(super) fn send(mut state: State, of: WorkerId, kind: Kind) -> Option<State> {
        let worker = state.workers[of];
        let is_free = worker.awaits.is_none() && !worker.in_doubt && worker.sweep == Sweep::None;
        let left = match kind {
            Kind::Claim => &mut state.workers[of].claims_left,
            Kind::Write => &mut state.workers[of].writes_left,
            Kind::End { .. } => &mut 1,
        };
        *left = left.checked_sub(1)?;
        let slot = state.requests.iter().position(Option::is_none)?;
        let phase = Phase::Sent;
        state.requests[slot] = Some(Request { of, kind, phase });
        state.workers[of].awaits = Some(slot);
        (is_free && !worker.is_over).then_some(state)
    }

    /// The ends that the worker can send.
    pub(super) fn ends(state: &State, of: WorkerId) -> impl Iterator<Item = Kind> {
        let work = state.workers[of].work.into_iter();
        work.flat_map(|(item, fence)| {
            [Outcome::Finished, Outcome::Failed].map(|outcome| Kind::End {
                item,
                fence,
                outcome,
            })
        })
    }

    /// The connection breaks: no answer will come, but the request goes on until the server notices.
    pub(super) fn lose_answer(mut state: State, of: WorkerId) -> Option<State> {
        let worker = &mut state.workers[of];
        let slot = worker.awaits.take()?;
        worker.losses_left = worker.losses_left.checked_sub(1)?;
        match state.requests[slot]?.kind {
            Kind::Claim => worker.sweep = Sweep::After(slot),
            Kind::End { .. } => worker.in_doubt = true,
            Kind::Write => {}
        }
        Some(state)
    }

    /// Looks up, by the fence, the outcome of an end: it is recorded, or the item is still claimed and
    /// can be ended again, or another session has claimed it.
    pub(super) fn look_up(mut state: State, of: WorkerId) -> Option<State> {
        let worker = &mut state.workers[of];
        let was_in_doubt = std::mem::take(&mut worker.in_doubt);
        let (item, fence) = worker.work?;
        let is_claimed = state.items[item].claim.is_some_and(|h| h.fence == fence);
        if !is_claimed {
            worker.work = None;
        }
        was_in_doubt.then_some(state)
    }

    /// Ends the server process of a claim whose answer was lost.
    pub(super) fn terminate(mut state: State, of: WorkerId) -> Option<State> {
        let Sweep::After(slot) = state.workers[of].sweep else {
            return None;
        };
        state.requests[slot] = None;
        state.workers[of].sweep = Sweep::Ready;
        Some(state)
    }

    /// Releases the claims of the session that the worker does not know of.
    pub(super) fn sweep(&self, mut state: State, of: WorkerId) -> Option<State> {
        let is_ready = match state.workers[of].sweep {
            Sweep::None => false,
            Sweep::After(_) => !self.has(Guard::SweepAfterClaimIsGone),
            Sweep::Ready => true,
        };
        if !is_ready || state.janitor_locks_session(of) {
            return None;
        }
        state.workers[of].sweep = Sweep::None;
        if state.sessions[of].row != Row::Live {
            state.workers[of].is_over = true;
            return Some(state);
        }
        for item in 0..2 {
            let known = state.workers[of].work.map(|(_, fence)| fence);
            match state.items[item].claim {
                Some(claim) if claim.session == of && Some(claim.fence) != known => {
                    state.record(claim.fence, Outcome::Canceled);
                    state.items[item].claim = None;
                }
                _ => {}
            }
        }
        Some(state)
    }
}
