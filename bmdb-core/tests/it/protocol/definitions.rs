//! Model of a change of definitions: a writer plans a machine while one of its two processes moves into the lane
//! of the other and is to be planned otherwise from then on, and both are claimed.

use stateright::{Model, Property};

/// The guards that make it safe to change a definition while the fleet is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// The change waits until nobody is writing items, and keeps everybody from it until its commit.
    LocksItems,
    /// The lane of an item is that of the definition in force when it is written, whatever the plan says.
    LaneInForce,
    /// A plan made by other definitions than those in force is refused, and made again.
    VersionIsChecked,
}

/// The release of the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Release {
    #[default]
    Current,
    /// It does not name the version that it has planned by.
    Previous,
}

/// The definitions with all guards, or with all but one.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Definitions {
    pub(super) without: Option<Guard>,
    pub(super) writer: Release,
}

/// Which of the two definitions: [`OLD`] or [`NEW`].
type Version = u8;
const OLD: Version = 0;
/// By it, both processes share a lane.
const NEW: Version = 1;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    in_force: Version,
    definer: Definer,
    writer: Writer,
    /// The item of the process that is moved: by which definition its lane is, and by which it was planned.
    item: Option<Item>,
    moved_claimed: bool,
    other_claimed: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Item {
    lane: Version,
    planned_by: Version,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Definer {
    Waiting,
    /// It has changed the definition and the lanes of the items that it sees, and not committed yet.
    Changed(Option<Item>),
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Writer {
    Waiting,
    /// It has read the definitions.
    Read(Version),
    /// It has written the item, and not committed yet.
    Written(Item),
    Done,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Read,
    Write,
    CommitPlan,
    Change,
    CommitChange,
    ClaimMoved,
    ClaimOther,
    EndMoved,
    EndOther,
}

pub(super) const ONE_HOLDER: &str = "a lane has one holder";
pub(super) const NO_STALE_PLAN: &str = "no plan is older than the definition in force";

impl Definitions {
    fn has(self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Whether a change keeps everybody else from writing items.
    fn is_locked(self, state: &State) -> bool {
        self.has(Guard::LocksItems) && matches!(state.definer, Definer::Changed(_))
    }
}

/// Whether the index of claimed lanes has an entry that a claim of the moved process would need.
fn shares_lane(item: Item) -> bool {
    item.lane == NEW
}

impl Model for Definitions {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            in_force: OLD,
            definer: Definer::Waiting,
            writer: Writer::Waiting,
            item: None,
            moved_claimed: false,
            other_claimed: false,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let all = [
            Action::Read,
            Action::Write,
            Action::CommitPlan,
            Action::Change,
            Action::CommitChange,
            Action::ClaimMoved,
            Action::ClaimOther,
            Action::EndMoved,
            Action::EndOther,
        ];
        let possible = |action: &Action| self.next_state(state, *action).is_some();
        actions.extend(all.into_iter().filter(possible));
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut next = state.clone();
        match action {
            Action::Read => {
                let may = state.writer == Writer::Waiting;
                next.writer = may.then_some(Writer::Read(state.in_force))?;
            }
            Action::Write => {
                let Writer::Read(read) = state.writer else {
                    return None;
                };
                if self.is_locked(state) {
                    return None;
                }
                let checks = self.writer == Release::Current && self.has(Guard::VersionIsChecked);
                next.writer = if checks && read != state.in_force {
                    Writer::Waiting
                } else {
                    let lane = match self.has(Guard::LaneInForce) {
                        true => state.in_force,
                        false => read,
                    };
                    let planned_by = read;
                    Writer::Written(Item { lane, planned_by })
                };
            }
            Action::CommitPlan => {
                let Writer::Written(item) = state.writer else {
                    return None;
                };
                (next.item, next.writer) = (Some(item), Writer::Done);
            }
            Action::Change => {
                let is_written = matches!(state.writer, Writer::Written(_));
                let waits = self.has(Guard::LocksItems) && is_written;
                // A claimed item keeps its lane, so the change is refused meanwhile.
                if state.definer != Definer::Waiting || waits || state.moved_claimed {
                    return None;
                }
                let lane = NEW;
                next.definer = Definer::Changed(state.item.map(|item| Item { lane, ..item }));
            }
            Action::CommitChange => {
                let Definer::Changed(changed) = state.definer else {
                    return None;
                };
                (next.in_force, next.definer) = (NEW, Definer::Done);
                // The machines that were planned before it are planned again after it.
                let planned_by = NEW;
                next.item = changed
                    .map(|item| Item { planned_by, ..item })
                    .or(state.item);
            }
            Action::ClaimMoved => {
                let item = state.item?;
                let is_taken = shares_lane(item) && state.other_claimed;
                if state.moved_claimed || is_taken || self.is_locked(state) {
                    return None;
                }
                next.moved_claimed = true;
            }
            Action::ClaimOther => {
                let is_taken = state.moved_claimed && state.item.is_some_and(shares_lane);
                if state.other_claimed || is_taken || self.is_locked(state) {
                    return None;
                }
                next.other_claimed = true;
            }
            Action::EndMoved => {
                next.moved_claimed = false;
                state.moved_claimed.then_some(())?;
            }
            Action::EndOther => {
                next.other_claimed = false;
                state.other_claimed.then_some(())?;
            }
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONE_HOLDER, |_, state: &State| {
                let both = state.moved_claimed && state.other_claimed;
                !(both && state.in_force == NEW)
            }),
            Property::always(NO_STALE_PLAN, |model: &Self, state: &State| {
                let is_stale = |item: Item| item.planned_by < state.in_force;
                // The plans of the previous release are made again after the change.
                model.writer == Release::Previous || !state.item.is_some_and(is_stale)
            }),
            Property::sometimes("both are done", |_, state: &State| {
                state.definer == Definer::Done && state.writer == Writer::Done
            }),
        ]
    }
}
