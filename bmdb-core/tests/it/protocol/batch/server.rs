//! The server's part of a batch: a transaction of two messages.

use super::{Batch, Client, End, Guard, Item, Outcome, Session, Slot, State};

/// A transaction that finishes attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tx {
    ends: [bool; 2],
    phase: Phase,
    /// The locks that it has.
    has_session: bool,
    items: [bool; 2],
    machines: [bool; 2],
    /// What it is going to end, and what it leaves out because of another transaction's lock.
    ending: [bool; 2],
    busy: [bool; 2],
    /// Whether its connection is lost.
    pub(super) is_orphan: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Sent,
    /// The session is alive. Machines and items are being locked.
    Fenced,
    /// The first message is answered: what is locked is known.
    Locked,
    /// The second one is on its way, with the commit.
    Ending,
    /// All is written.
    Written,
}

/// The answer for one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Ended,
    Lost,
    Busy,
    Refused,
}

impl Tx {
    pub(super) fn is_batch(self) -> bool {
        self.ends == [true; 2]
    }

    pub(super) fn has_item(self, end: End) -> bool {
        self.items[end]
    }

    pub(super) fn has_session(self) -> bool {
        self.has_session
    }
}

impl State {
    /// Sends a transaction for these ends.
    pub(super) fn send(mut self, ends: [bool; 2], in_doubt: bool) -> Option<Self> {
        let slot = self.transactions.iter().position(Option::is_none)?;
        self.transactions[slot] = Some(Tx {
            ends,
            phase: Phase::Sent,
            has_session: false,
            items: [false; 2],
            machines: [false; 2],
            ending: [false; 2],
            busy: [false; 2],
            is_orphan: false,
        });
        for end in (0..2).filter(|end| ends[*end]) {
            self.client[end] = Client::Awaits { slot, in_doubt };
        }
        Some(self)
    }

    /// Whether another transaction than this has locked a machine.
    pub(super) fn machine_is_locked(&self, end: End, but: Option<Slot>) -> bool {
        let transactions = self.transactions.iter().enumerate();
        self.machine_is_locked[end]
            || transactions
                .filter(|(slot, _)| Some(*slot) != but)
                .any(|(_, tx)| tx.is_some_and(|tx| tx.machines[end]))
    }
}

impl Batch {
    /// The next step of a transaction; `None` while it has to wait.
    pub(super) fn step(self, mut state: State, slot: Slot) -> Option<State> {
        let tx = state.transactions[slot]?;
        match tx.phase {
            Phase::Sent => self.check_fence(&mut state, slot, tx),
            Phase::Fenced => self.lock(&mut state, slot, tx)?,
            // The client sends the second message, unless it does not get the answer to the first.
            Phase::Locked if tx.is_orphan => return None,
            Phase::Locked => self.choose(&mut state, slot, tx),
            Phase::Ending => self.write(&mut state, slot, tx),
            Phase::Written => self.commit(&mut state, slot, tx)?,
        }
        Some(state)
    }

    fn check_fence(self, state: &mut State, slot: Slot, mut tx: Tx) {
        if state.session != Session::Live {
            return self.answer_all(state, slot, |_| Answer::Lost);
        }
        (tx.phase, tx.has_session) = (Phase::Fenced, true);
        state.transactions[slot] = Some(tx);
    }

    /// Locks machines, then items. A batch leaves out what is locked, and an end alone waits for it.
    fn lock(self, state: &mut State, slot: Slot, mut tx: Tx) -> Option<()> {
        let but = Some(slot);
        for end in (0..2).filter(|end| tx.ends[*end]) {
            let machine_is_locked =
                self.has(Guard::LocksMachines) && state.machine_is_locked(end, but);
            let item_is_locked = self.has(Guard::LocksItems) && state.item_is_locked(end, but);
            if !tx.is_batch() && machine_is_locked {
                return None;
            }
            if !tx.is_batch() && item_is_locked {
                // It has the machine locked while it waits for the item.
                let waits = std::mem::replace(&mut tx.machines[end], true);
                state.transactions[slot] = Some(tx);
                return (!waits).then_some(());
            }
            tx.machines[end] = !machine_is_locked && self.has(Guard::LocksMachines);
            let is_claimed = state.items[end] == Item::Claimed;
            tx.items[end] = is_claimed && !item_is_locked && self.has(Guard::LocksItems);
            tx.busy[end] = is_claimed && (machine_is_locked || item_is_locked);
            tx.ending[end] = is_claimed && !tx.busy[end];
        }
        tx.phase = Phase::Locked;
        state.transactions[slot] = Some(tx);
        Some(())
    }

    /// The client chooses what to end, or rolls back.
    fn choose(self, state: &mut State, slot: Slot, mut tx: Tx) {
        if tx.ending == [false; 2] {
            return self.answer_all(state, slot, |end| left_out(tx, end));
        }
        if !self.has(Guard::WritesOfItsOwn) {
            tx.ending = tx.ends;
        }
        tx.phase = Phase::Ending;
        state.transactions[slot] = Some(tx);
    }

    /// One refused tag makes all of it fail.
    fn write(self, state: &mut State, slot: Slot, mut tx: Tx) {
        if (0..2).any(|end| tx.ending[end] && self.is_refused(end)) {
            return self.answer_all(state, slot, |_| Answer::Refused);
        }
        tx.phase = Phase::Written;
        state.transactions[slot] = Some(tx);
    }

    /// The statement that ends attempts finds those that the session still has.
    fn commit(self, state: &mut State, slot: Slot, tx: Tx) -> Option<()> {
        let ending = || (0..2).filter(|end| tx.ending[*end]);
        if ending().any(|end| state.item_is_locked(end, Some(slot))) {
            return None;
        }
        for end in ending() {
            state.is_tag_written[end] = true;
            state.is_written_unlocked |= state.machine_is_locked(end, Some(slot));
        }
        let ended = ending().filter(|end| state.items[*end] == Item::Claimed);
        let ended: Vec<End> = ended.collect();
        for end in &ended {
            state.record(*end, Outcome::Finished);
        }
        self.answer_all(state, slot, |end| match ended.contains(&end) {
            true => Answer::Ended,
            false => left_out(tx, end),
        });
        Some(())
    }

    /// The transaction is over.
    fn answer_all(self, state: &mut State, slot: Slot, answer: impl Fn(End) -> Answer) {
        for end in 0..2 {
            self.answer(state, slot, end, answer(end));
        }
        state.transactions[slot] = None;
    }
}

fn left_out(tx: Tx, end: End) -> Answer {
    match tx.busy[end] {
        true => Answer::Busy,
        false => Answer::Lost,
    }
}
