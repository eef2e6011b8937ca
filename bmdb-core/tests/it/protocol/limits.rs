//! Slot model: two programs, each with a machine of its own, whose process may run on one machine at a time;
//! kills; and a janitor.
//!
//! A claim looks for a free slot in a snapshot, locks it, and takes it in the commit that claims the machine.
//! An end, whether by its program or by the janitor, frees the slot in its own commit. The machines share
//! neither item nor lane, so nothing but the slot keeps them apart.

use stateright::{Model, Property};

/// How often each program may claim.
const CLAIMS: u8 = 2;

/// The guards that make limits hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// A claim locks the slot until its commit, and skips one that is locked.
    SlotIsLocked,
    /// Whether the slot is free is read again in the locked row.
    FreeInLockedRow,
    /// The transaction of an end frees the slot too.
    FreedByEnd,
    /// The transaction in which the janitor reclaims frees the slot too.
    FreedByReclaim,
    /// An end that changes no item frees no slot.
    FreesItsOwn,
}

/// The slots with all guards, or with all but one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slots {
    pub(super) without: Option<Guard>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    /// Whose claim has taken the slot, as it is committed.
    taken: Option<usize>,
    locked_by: Option<usize>,
    /// Whether each machine is claimed, as it is committed.
    claimed: [bool; 2],
    programs: [Program; 2],
    /// Whether an end that a program had sent before it was killed may still arrive.
    late_ends: [bool; 2],
    claims_left: [u8; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Program {
    Idle,
    /// A snapshot has shown it a free slot.
    Seen,
    /// Its claim has passed the slot, and is not committed yet.
    Passed,
    /// It works, or its end is on the way.
    Working,
    /// Without [`Guard::FreedByEnd`]: the item is free, and a later transaction is to free the slot.
    OwesSlot,
    /// It is dead, and is started again once the janitor has reclaimed its machine.
    Killed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    LookForSlot(usize),
    LockSlot(usize),
    Commit(usize),
    End(usize),
    FreeLater(usize),
    /// Whether its end is on the way.
    Kill(usize, bool),
    LateEnd(usize),
    Reclaim(usize),
    Restart(usize),
}

pub(super) const NOT_MORE_THAN_ALLOWED: &str = "not more run than allowed";
pub(super) const NO_LEAK: &str = "no slot is taken when all is quiet";

impl Slots {
    fn has(self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Ends the claim of `who`, and frees its slot if `frees`.
    fn end(state: &mut State, who: usize, frees: bool) {
        state.claimed[who] = false;
        if frees {
            state.taken = None;
        }
    }
}

impl Model for Slots {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            taken: None,
            locked_by: None,
            claimed: [false; 2],
            programs: [Program::Idle; 2],
            late_ends: [false; 2],
            claims_left: [CLAIMS; 2],
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for who in 0..2 {
            let all = [
                Action::LookForSlot(who),
                Action::LockSlot(who),
                Action::Commit(who),
                Action::End(who),
                Action::FreeLater(who),
                Action::Kill(who, false),
                Action::Kill(who, true),
                Action::LateEnd(who),
                Action::Reclaim(who),
                Action::Restart(who),
            ];
            let possible = |action: &Action| self.next_state(state, *action).is_some();
            actions.extend(all.into_iter().filter(possible));
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::LookForSlot(who) => {
                let may = state.programs[who] == Program::Idle && state.taken.is_none();
                next.claims_left[who] = state.claims_left[who].checked_sub(1).filter(|_| may)?;
                next.programs[who] = Program::Seen;
            }
            Action::LockSlot(who) => {
                if state.programs[who] != Program::Seen {
                    return None;
                }
                let skips = self.has(Guard::SlotIsLocked) && state.locked_by.is_some();
                let is_full = self.has(Guard::FreeInLockedRow) && state.taken.is_some();
                if skips || is_full {
                    next.programs[who] = Program::Idle;
                } else {
                    next.programs[who] = Program::Passed;
                    next.locked_by = Some(who).filter(|_| self.has(Guard::SlotIsLocked));
                }
            }
            Action::Commit(who) => {
                if state.programs[who] != Program::Passed {
                    return None;
                }
                next.programs[who] = Program::Working;
                (next.taken, next.locked_by) = (Some(who), None);
                next.claimed[who] = true;
            }
            Action::End(who) => {
                if state.programs[who] != Program::Working {
                    return None;
                }
                let frees = self.has(Guard::FreedByEnd);
                Self::end(&mut next, who, frees);
                next.programs[who] = match frees {
                    true => Program::Idle,
                    false => Program::OwesSlot,
                };
            }
            Action::FreeLater(who) => {
                if state.programs[who] != Program::OwesSlot {
                    return None;
                }
                (next.taken, next.programs[who]) = (None, Program::Idle);
            }
            Action::Kill(who, end_on_the_way) => {
                match state.programs[who] {
                    Program::Working => {}
                    Program::Idle | Program::Killed => return None,
                    _ if end_on_the_way => return None,
                    // The server rolls back, which unlocks.
                    Program::Passed => next.locked_by = None,
                    Program::Seen | Program::OwesSlot => {}
                }
                next.programs[who] = Program::Killed;
                next.late_ends[who] |= end_on_the_way;
            }
            Action::LateEnd(who) => {
                let arrives = std::mem::take(&mut next.late_ends[who]);
                arrives.then_some(())?;
                // Its fence is that of the claim at which the program was killed.
                if state.programs[who] == Program::Killed && state.claimed[who] {
                    Self::end(&mut next, who, true);
                } else if !self.has(Guard::FreesItsOwn) {
                    next.taken = None;
                }
            }
            Action::Reclaim(who) => {
                if state.programs[who] != Program::Killed || !state.claimed[who] {
                    return None;
                }
                Self::end(&mut next, who, self.has(Guard::FreedByReclaim));
            }
            Action::Restart(who) => {
                if state.programs[who] != Program::Killed || state.claimed[who] {
                    return None;
                }
                next.programs[who] = Program::Idle;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(NOT_MORE_THAN_ALLOWED, |_, state: &State| {
                state.claimed != [true, true]
            }),
            Property::always(NO_LEAK, |model: &Self, state: &State| {
                let mut goes_on = Vec::new();
                model.actions(state, &mut goes_on);
                !goes_on.is_empty() || state.taken.is_none()
            }),
            Property::sometimes("both have worked", |_, state: &State| {
                state.claims_left == [0, 0] && state.taken.is_none()
            }),
        ]
    }
}
