//! Lease model: the deadline in the database, and how long the session relies on it while heartbeats are
//! slow, late or lost.
//!
//! Time passes in steps, and both clocks run at the same speed; the margin of a lease covers the
//! difference.

use stateright::{Model, Property};

/// How far a heartbeat moves the deadline.
const INTERVAL: u8 = 4;
/// How long a session waits for the answer.
const ANSWER_TIMEOUT: u8 = 2;
/// When a run of the model ends.
const END: u8 = 12;

/// The guards that make the lease safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// The lease is counted from the sending of a heartbeat, not from its answer.
    CountedFromSending,
    /// A heartbeat that comes after the deadline does not move it.
    NoLateHeartbeat,
    /// A lease that ran out stays lost, even if a heartbeat is answered later.
    LostForGood,
}

#[derive(Debug, Clone, Default)]
pub(super) struct OneLease {
    pub(super) without: Option<Guard>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    now: u8,
    /// The deadline in the database.
    deadline: u8,
    /// Whether the deadline has ever passed: from then on another session may claim the machine.
    has_passed: bool,
    valid_until: u8,
    lost: bool,
    /// Whether the loss was reported to the users of the session, which happens at once.
    reported: bool,
    /// The heartbeat whose answer the session awaits, and one that was given up and may still arrive.
    awaited: Option<Heartbeat>,
    given_up: Option<Heartbeat>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Heartbeat {
    sent: u8,
    /// The answer of the database.
    alive: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    TimePasses,
    Send,
    Arrives,
    GivenUpArrives,
    IsAnswered,
    IsGivenUp,
}

impl State {
    fn is_valid(&self) -> bool {
        !self.lost && self.now < self.valid_until
    }
}

impl OneLease {
    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// The heartbeat's statement.
    fn arrive(&self, state: &mut State, mut heartbeat: Heartbeat) -> Heartbeat {
        let in_time = state.now < state.deadline || !self.has(Guard::NoLateHeartbeat);
        if in_time {
            state.deadline = state.now + INTERVAL;
        }
        heartbeat.alive = Some(in_time);
        heartbeat
    }

    fn receive(&self, state: &mut State, heartbeat: Heartbeat) {
        if heartbeat.alive != Some(true) {
            state.lost = true;
            return;
        }
        if self.has(Guard::LostForGood) {
            state.lost |= state.now >= state.valid_until;
        }
        let since = match self.has(Guard::CountedFromSending) {
            true => heartbeat.sent,
            false => state.now,
        };
        state.valid_until = since + INTERVAL;
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
            valid_until: INTERVAL,
            lost: false,
            reported: false,
            awaited: None,
            given_up: None,
        }]
    }

    fn actions(&self, _: &State, actions: &mut Vec<Action>) {
        actions.extend([
            Action::TimePasses,
            Action::Send,
            Action::Arrives,
            Action::GivenUpArrives,
            Action::IsAnswered,
            Action::IsGivenUp,
        ]);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::TimePasses if state.now < END => next.now += 1,
            Action::Send if state.awaited.is_none() && state.is_valid() => {
                next.awaited = Some(Heartbeat {
                    sent: state.now,
                    alive: None,
                });
            }
            Action::Arrives => {
                let heartbeat = state
                    .awaited
                    .filter(|heartbeat| heartbeat.alive.is_none())?;
                next.awaited = Some(self.arrive(&mut next, heartbeat));
            }
            Action::GivenUpArrives => {
                let heartbeat = next.given_up.take()?;
                self.arrive(&mut next, heartbeat);
            }
            Action::IsAnswered => {
                let heartbeat = next
                    .awaited
                    .take()
                    .filter(|heartbeat| heartbeat.alive.is_some())?;
                self.receive(&mut next, heartbeat);
            }
            Action::IsGivenUp => {
                let heartbeat = next.awaited.take()?;
                let late = state.now >= heartbeat.sent + ANSWER_TIMEOUT;
                next.given_up =
                    Some(heartbeat).filter(|heartbeat| late && heartbeat.alive.is_none());
                if !late {
                    return None;
                }
            }
            Action::TimePasses | Action::Send => return None,
        }
        next.has_passed |= next.now >= next.deadline;
        next.reported |= !next.is_valid();
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(VALID_IS_NOT_EXPIRED, |_, state: &State| {
                !state.is_valid() || state.now < state.deadline
            }),
            Property::always(NO_REVIVAL, |_, state: &State| {
                !state.has_passed || state.now >= state.deadline
            }),
            Property::always(LOST_IS_FINAL, |_, state: &State| {
                !state.reported || !state.is_valid()
            }),
            Property::sometimes("the lease is kept", |_, state: &State| {
                state.now == END && state.is_valid()
            }),
            Property::sometimes(
                "the lease is lost before its deadline",
                |_, state: &State| !state.is_valid() && state.now < state.deadline,
            ),
        ]
    }
}

pub(super) const VALID_IS_NOT_EXPIRED: &str = "a valid lease has not expired";
pub(super) const NO_REVIVAL: &str = "an expired lease stays expired";
pub(super) const LOST_IS_FINAL: &str = "a lease that was reported as lost is not valid again";
