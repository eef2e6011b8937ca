//! What a worker does: asks, gives up waiting for an answer, and finds out what became of it.

use super::state::{Kind, Outcome, Phase, Request, Row, State, Sweep, Who};
use super::{Guard, Protocol};

impl Protocol {
    /// Sends a request, if the worker is free to and has one to send.
    pub(super) fn send(mut state: State, of: Who, kind: Kind) -> Option<State> {
        let worker = state.workers[of];
        let is_free = worker.waits.is_none() && !worker.in_doubt && worker.sweep == Sweep::None;
        let left = match kind {
            Kind::Claim => &mut state.workers[of].claims_left,
            Kind::Write => &mut state.workers[of].writes_left,
            Kind::End { .. } => &mut 1,
        };
        *left = left.checked_sub(1)?;
        let slot = state.requests.iter().position(Option::is_none)?;
        let phase = Phase::Sent;
        state.requests[slot] = Some(Request { of, kind, phase });
        state.workers[of].waits = Some(slot);
        (is_free && !worker.is_over).then_some(state)
    }

    /// The ends of what the worker holds.
    pub(super) fn ends(state: &State, of: Who) -> impl Iterator<Item = Kind> {
        let held = state.workers[of].holds.into_iter();
        held.flat_map(|(item, fence)| {
            [Outcome::Finished, Outcome::Failed].map(|outcome| Kind::End {
                item,
                fence,
                outcome,
            })
        })
    }

    /// The connection breaks: no answer will come, and the request goes on for as long as the server
    /// does not notice.
    pub(super) fn lose(mut state: State, of: Who) -> Option<State> {
        let worker = &mut state.workers[of];
        let slot = worker.waits.take()?;
        worker.losses_left = worker.losses_left.checked_sub(1)?;
        match state.requests[slot]?.kind {
            Kind::Claim => worker.sweep = Sweep::After(slot),
            Kind::End { .. } => worker.in_doubt = true,
            Kind::Write => {}
        }
        Some(state)
    }

    /// Finds out through the fence what became of an end: it is recorded, or the work is held still
    /// and can be ended again, or it is somebody else's.
    pub(super) fn settle(mut state: State, of: Who) -> Option<State> {
        let worker = &mut state.workers[of];
        let was_in_doubt = std::mem::take(&mut worker.in_doubt);
        let (item, fence) = worker.holds?;
        let is_held = state.items[item].holder.is_some_and(|h| h.fence == fence);
        if !is_held {
            worker.holds = None;
        }
        was_in_doubt.then_some(state)
    }

    /// Ends the server process of a claim whose answer was lost.
    pub(super) fn terminate(mut state: State, of: Who) -> Option<State> {
        let Sweep::After(slot) = state.workers[of].sweep else {
            return None;
        };
        state.requests[slot] = None;
        state.workers[of].sweep = Sweep::Ready;
        Some(state)
    }

    /// Gives back whatever the session holds and the worker does not know of.
    pub(super) fn sweep(&self, mut state: State, of: Who) -> Option<State> {
        let is_ready = match state.workers[of].sweep {
            Sweep::None => false,
            Sweep::After(_) => !self.has(Guard::SweepsAfterTheClaimIsGone),
            Sweep::Ready => true,
        };
        if !is_ready || state.session_is_taken(of) {
            return None;
        }
        state.workers[of].sweep = Sweep::None;
        if state.sessions[of].row != Row::Live {
            state.workers[of].is_over = true;
            return Some(state);
        }
        for item in 0..2 {
            let known = state.workers[of].holds.map(|(_, fence)| fence);
            match state.items[item].holder {
                Some(held) if held.session == of && Some(held.fence) != known => {
                    state.record(held.fence, Outcome::Canceled);
                    state.items[item].holder = None;
                }
                _ => {}
            }
        }
        Some(state)
    }
}
