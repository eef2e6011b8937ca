//! A model of one lease: what the database's clock says of it, and for how long its holder trusts it
//! while heartbeats are slow, late or lost.
//!
//! Time goes in steps, and both clocks go alike; that they do not quite is what the margin is for.

use stateright::{Model, Property};

/// How far a heartbeat moves the deadline, and for how long one waits for its answer.
const INTERVAL: u8 = 4;
const PATIENCE: u8 = 2;
/// When nobody looks any more.
const END: u8 = 12;

/// What the lease is safe by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Trust is counted from the sending of a heartbeat, not from its answer.
    TrustFromTheSending,
    /// A heartbeat that comes after the deadline does not move it.
    NoLateHeartbeat,
    /// A lease that ran out stays lost, whatever is heard later.
    LostForGood,
}

#[derive(Debug, Clone, Default)]
pub(super) struct OneLease {
    pub(super) without: Option<Guard>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    now: u8,
    /// In the database.
    deadline: u8,
    /// Whether the deadline was ever behind: from then on somebody else may have the machine.
    has_passed: bool,
    trusted_until: u8,
    lost: bool,
    /// Whether its users were told that it is lost, as they are at once.
    told: bool,
    /// The heartbeat whose answer is waited for, and one that was given up, which may still arrive.
    awaited: Option<Beat>,
    stray: Option<Beat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Beat {
    sent: u8,
    /// What the database answered.
    alive: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    TimePasses,
    Send,
    Arrives,
    AStrayArrives,
    IsAnswered,
    IsGivenUp,
}

impl State {
    fn is_trusted(&self) -> bool {
        !self.lost && self.now < self.trusted_until
    }
}

impl OneLease {
    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// The heartbeat's statement.
    fn arrive(&self, state: &mut State, mut beat: Beat) -> Beat {
        let in_time = state.now < state.deadline || !self.has(Guard::NoLateHeartbeat);
        if in_time {
            state.deadline = state.now + INTERVAL;
        }
        beat.alive = Some(in_time);
        beat
    }

    fn hear(&self, state: &mut State, beat: Beat) {
        if beat.alive != Some(true) {
            state.lost = true;
            return;
        }
        if self.has(Guard::LostForGood) {
            state.lost |= state.now >= state.trusted_until;
        }
        let since = match self.has(Guard::TrustFromTheSending) {
            true => beat.sent,
            false => state.now,
        };
        state.trusted_until = since + INTERVAL;
    }
}

impl Model for OneLease {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 0,
            deadline: INTERVAL,
            has_passed: false,
            trusted_until: INTERVAL,
            lost: false,
            told: false,
            awaited: None,
            stray: None,
        }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend([
            Action::TimePasses,
            Action::Send,
            Action::Arrives,
            Action::AStrayArrives,
            Action::IsAnswered,
            Action::IsGivenUp,
        ]);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::TimePasses if state.now < END => next.now += 1,
            Action::Send if state.awaited.is_none() && state.is_trusted() => {
                next.awaited = Some(Beat {
                    sent: state.now,
                    alive: None,
                });
            }
            Action::Arrives => {
                let beat = state.awaited.filter(|beat| beat.alive.is_none())?;
                next.awaited = Some(self.arrive(&mut next, beat));
            }
            Action::AStrayArrives => {
                let beat = next.stray.take()?;
                self.arrive(&mut next, beat);
            }
            Action::IsAnswered => {
                let beat = next.awaited.take().filter(|beat| beat.alive.is_some())?;
                self.hear(&mut next, beat);
            }
            Action::IsGivenUp => {
                let beat = next.awaited.take()?;
                let late = state.now >= beat.sent + PATIENCE;
                next.stray = Some(beat).filter(|beat| late && beat.alive.is_none());
                if !late {
                    return None;
                }
            }
            Action::TimePasses | Action::Send => return None,
        }
        next.has_passed |= next.now >= next.deadline;
        next.told |= !next.is_trusted();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(TRUST_ENDS_FIRST, |_, state: &State| {
                !state.is_trusted() || state.now < state.deadline
            }),
            Property::always(NO_REVIVAL, |_, state: &State| {
                !state.has_passed || state.now >= state.deadline
            }),
            Property::always(TOLD_ONCE, |_, state: &State| {
                !state.told || !state.is_trusted()
            }),
            Property::sometimes("it is kept", |_, state: &State| {
                state.now == END && state.is_trusted()
            }),
            Property::sometimes(
                "it is lost while the deadline is ahead",
                |_, state: &State| !state.is_trusted() && state.now < state.deadline,
            ),
        ]
    }
}

pub(super) const TRUST_ENDS_FIRST: &str = "what is trusted has not expired";
pub(super) const NO_REVIVAL: &str = "what has expired stays so";
pub(super) const TOLD_ONCE: &str = "what was told to be lost is not trusted again";
