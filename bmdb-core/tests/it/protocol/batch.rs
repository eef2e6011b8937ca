//! Batch model: two attempts of one session are finished with tags, first in one transaction, then each alone
//! where that is necessary.
//!
//! Beside them, an operator cancels an attempt, another session claims the machine after that, somebody has a
//! machine locked, the session expires and is reclaimed, one of the tags is refused, and answers are lost.
//! [`server`] has the steps of a transaction; here is what the client makes of the answers.

mod server;

use server::{Answer, Tx};
use stateright::{Model, Property};

/// An attempt, its fence and its machine. The other session's claims have other fences.
pub(super) type End = usize;
/// The index of a transaction.
type Slot = usize;

const SLOTS: usize = 4;

/// The guards that make ends with tags safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// The items of the attempts are locked until the commit, before it is decided what is written.
    LocksItems,
    /// An end whose machine another transaction has locked is left out of a batch.
    LocksMachines,
    /// Only the tags of attempts that the session has are written.
    WritesOfItsOwn,
    /// After a batch was refused, each of its ends is sent alone.
    Splits,
    /// After a lost answer, the fence says whether the end took effect.
    LooksUp,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Batch {
    pub(super) without: Option<Guard>,
    /// The end whose tag is refused.
    pub(super) refused: Option<End>,
    /// How many answers are lost at most.
    pub(super) losses: u8,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct State {
    session: Session,
    items: [Item; 2],
    /// Who has locked each machine, if it is none of these transactions.
    machine_is_locked: [bool; 2],
    /// The item that an operator is just freeing.
    operator: Option<End>,
    /// How each attempt ended, and how often.
    ended: [Option<Outcome>; 2],
    is_ended_twice: bool,
    is_tag_written: [bool; 2],
    /// A tag was written while another transaction had the machine locked.
    is_written_unlocked: bool,
    transactions: [Option<Tx>; SLOTS],
    client: [Client; 2],
    losses_left: u8,
    cancellations_left: u8,
    locks_left: u8,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Session {
    Live,
    Passed,
    Deleted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Item {
    /// By the attempt of this machine.
    Claimed,
    Free,
    /// By the other session.
    ClaimedByOther,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Outcome {
    Finished,
    Canceled,
    Expired,
}

/// What the client knows of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Client {
    /// It is submitted.
    New,
    Awaits {
        slot: Slot,
        /// Whether an earlier transaction may have ended it.
        in_doubt: bool,
    },
    /// It has to be sent alone.
    Alone {
        in_doubt: bool,
    },
    /// Its answer is lost.
    InDoubt,
    Reported(Report),
}

/// What the caller of an end gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Report {
    Ended,
    Lost,
    Refused,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    SendBatch,
    SendAlone(End),
    Step(Slot),
    /// The server notices that the connection is gone.
    Abort(Slot),
    LoseAnswer(Slot),
    LookUp(End),
    DeadlinePasses,
    Reclaim,
    OperatorLocks(End),
    OperatorCommits,
    OtherClaims(End),
    LockMachine(End),
    UnlockMachine(End),
}

pub(super) const TAG_IF_FINISHED: &str = "a tag is written if and only if its attempt is finished";
pub(super) const ENDS_ONCE: &str = "an attempt ends once";
pub(super) const NO_WRITE_UNLOCKED: &str =
    "nothing is written about a machine that others have locked";
pub(super) const REPORTS_ARE_TRUE: &str = "what a caller gets is true";
pub(super) const ALL_ARE_ANSWERED: &str = "every end is answered when nothing can happen any more";

impl Batch {
    fn has(self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    fn is_refused(self, end: End) -> bool {
        self.refused == Some(end)
    }

    fn lose_answer(self, mut state: State, slot: Slot) -> Option<State> {
        state.losses_left = state.losses_left.checked_sub(1)?;
        let tx = state.transactions[slot]
            .as_mut()
            .filter(|tx| !tx.is_orphan)?;
        tx.is_orphan = true;
        for client in &mut state.client {
            if matches!(client, Client::Awaits { slot: awaited, .. } if *awaited == slot) {
                *client = match self.has(Guard::LooksUp) {
                    true => Client::InDoubt,
                    false => Client::Alone { in_doubt: false },
                };
            }
        }
        Some(state)
    }

    /// Reads the item once nobody has it locked, and the history after that.
    fn look_up(self, mut state: State, end: End) -> Option<State> {
        if state.client[end] != Client::InDoubt || state.item_is_locked(end, None) {
            return None;
        }
        state.client[end] = match state.ended[end] {
            None => Client::Alone { in_doubt: true },
            Some(Outcome::Finished) => Client::Reported(Report::Ended),
            Some(Outcome::Canceled | Outcome::Expired) => Client::Reported(Report::Lost),
        };
        Some(state)
    }

    /// Hands the answer for an end of a transaction to its caller, if the connection lives.
    fn answer(self, state: &mut State, slot: Slot, end: End, answer: Answer) {
        let Client::Awaits {
            slot: awaited,
            in_doubt,
        } = state.client[end]
        else {
            return;
        };
        if awaited != slot {
            return;
        }
        let is_batch = state.transactions[slot].is_some_and(|tx| tx.is_batch());
        let alone = Client::Alone { in_doubt };
        state.client[end] = match answer {
            Answer::Ended => Client::Reported(Report::Ended),
            Answer::Lost if in_doubt => Client::InDoubt,
            Answer::Lost => Client::Reported(Report::Lost),
            Answer::Busy => alone,
            Answer::Refused if is_batch && self.has(Guard::Splits) => alone,
            Answer::Refused => Client::Reported(Report::Refused),
        };
    }

    /// Whether what the caller of an end got is true.
    fn is_true(self, state: &State, end: End) -> bool {
        let is_finished = state.ended[end] == Some(Outcome::Finished);
        match state.client[end] {
            Client::Reported(Report::Ended) => is_finished,
            Client::Reported(Report::Lost) => !is_finished,
            Client::Reported(Report::Refused) => !is_finished && self.is_refused(end),
            _ => true,
        }
    }
}

impl State {
    fn record(&mut self, end: End, outcome: Outcome) {
        self.is_ended_twice |= self.ended[end].replace(outcome).is_some();
        self.items[end] = Item::Free;
    }

    /// Whether an operator, or another transaction than this, has locked an item.
    fn item_is_locked(&self, end: End, but: Option<Slot>) -> bool {
        let transactions = self.transactions.iter().enumerate();
        self.operator == Some(end)
            || transactions
                .filter(|(slot, _)| Some(*slot) != but)
                .any(|(_, tx)| tx.is_some_and(|tx| tx.has_item(end)))
    }

    fn session_is_locked(&self) -> bool {
        let mut transactions = self.transactions.iter().flatten();
        self.operator.is_some() || transactions.any(|tx| tx.has_session())
    }

    fn reclaim(mut self) -> Option<Self> {
        let may = self.session == Session::Passed
            && !self.session_is_locked()
            && (0..2).all(|end| !self.item_is_locked(end, None));
        self.session = Session::Deleted;
        for end in 0..2 {
            if self.items[end] == Item::Claimed {
                self.record(end, Outcome::Expired);
            }
        }
        may.then_some(self)
    }
}

impl Model for Batch {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            session: Session::Live,
            items: [Item::Claimed; 2],
            machine_is_locked: [false; 2],
            operator: None,
            ended: [None; 2],
            is_ended_twice: false,
            is_tag_written: [false; 2],
            is_written_unlocked: false,
            transactions: [None; SLOTS],
            client: [Client::New; 2],
            losses_left: self.losses,
            cancellations_left: 1,
            locks_left: 1,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let mut all = vec![
            Action::SendBatch,
            Action::DeadlinePasses,
            Action::Reclaim,
            Action::OperatorCommits,
        ];
        for slot in 0..SLOTS {
            all.extend([
                Action::Step(slot),
                Action::Abort(slot),
                Action::LoseAnswer(slot),
            ]);
        }
        for end in 0..2 {
            all.extend([
                Action::SendAlone(end),
                Action::LookUp(end),
                Action::OperatorLocks(end),
                Action::OtherClaims(end),
                Action::LockMachine(end),
                Action::UnlockMachine(end),
            ]);
        }
        all.retain(|action| self.next_state(state, *action).is_some());
        actions.extend(all);
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let mut state = state.clone();
        match action {
            Action::SendBatch => {
                let is_new = state.client == [Client::New; 2];
                is_new.then_some(())?;
                return state.send([true; 2], false);
            }
            Action::SendAlone(end) => {
                let Client::Alone { in_doubt } = state.client[end] else {
                    return None;
                };
                return state.send([end == 0, end == 1], in_doubt);
            }
            Action::Step(slot) => return self.step(state, slot),
            Action::Abort(slot) => {
                state.transactions[slot].take_if(|tx| tx.is_orphan)?;
            }
            Action::LoseAnswer(slot) => return self.lose_answer(state, slot),
            Action::LookUp(end) => return self.look_up(state, end),
            Action::DeadlinePasses => {
                (state.session == Session::Live).then_some(())?;
                state.session = Session::Passed;
            }
            Action::Reclaim => return state.reclaim(),
            Action::OperatorLocks(end) => {
                state.cancellations_left = state.cancellations_left.checked_sub(1)?;
                let is_free = state.items[end] == Item::Claimed && !state.item_is_locked(end, None);
                (is_free && state.operator.is_none()).then_some(())?;
                state.operator = Some(end);
            }
            Action::OperatorCommits => {
                let end = state.operator.take()?;
                state.record(end, Outcome::Canceled);
            }
            Action::OtherClaims(end) => {
                let is_free = state.items[end] == Item::Free && !state.item_is_locked(end, None);
                is_free.then_some(())?;
                state.items[end] = Item::ClaimedByOther;
            }
            Action::LockMachine(end) => {
                state.locks_left = state.locks_left.checked_sub(1)?;
                (!state.machine_is_locked(end, None)).then_some(())?;
                state.machine_is_locked[end] = true;
            }
            Action::UnlockMachine(end) => {
                std::mem::take(&mut state.machine_is_locked[end]).then_some(())?;
            }
        }
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(TAG_IF_FINISHED, |_, state: &State| {
                (0..2).all(|end| {
                    state.is_tag_written[end] == (state.ended[end] == Some(Outcome::Finished))
                })
            }),
            Property::always(ENDS_ONCE, |_, state: &State| !state.is_ended_twice),
            Property::always(NO_WRITE_UNLOCKED, |_, state: &State| {
                !state.is_written_unlocked
            }),
            Property::always(REPORTS_ARE_TRUE, |model, state: &State| {
                (0..2).all(|end| model.is_true(state, end))
            }),
            Property::always(ALL_ARE_ANSWERED, |model, state: &State| {
                let mut actions = Vec::new();
                model.actions(state, &mut actions);
                let is_answered = |client: &Client| matches!(client, Client::Reported(_));
                !actions.is_empty() || state.client.iter().all(is_answered)
            }),
            Property::sometimes("one is lost, and the other finished", |_, state: &State| {
                use Report::{Ended, Lost};
                state.client == [Lost, Ended].map(Client::Reported)
            }),
            Property::sometimes("both end, unless one is refused", |model, state: &State| {
                let first = match model.is_refused(0) {
                    true => Report::Refused,
                    false => Report::Ended,
                };
                state.client == [first, Report::Ended].map(Client::Reported)
            }),
        ]
    }
}
