//! The tally of this component: what it started and ended, counted in memory and told to the database
//! every few seconds.
//!
//! It is for people, and nothing decides by it. So it costs claims and ends no statement; a program that
//! dies takes the last seconds with it; and what was on its way when a connection broke is not told
//! again, for it may have arrived.

use crate::db::deadline::Patience;
use crate::db::pool::Pool;
use crate::db::retry::jittered;
use crate::error::TxError;
use bmdb_model::history::{Event, Outcome};
use bmdb_model::internal::attempt_counts::{self, Count};
use bmdb_model::{ErrorKind, Process};
use chrono::TimeDelta;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;

const EVENTS: [Event; 5] = [
    Event::Started,
    Event::Finished,
    Event::Failed,
    Event::Canceled,
    Event::Expired,
];

/// What was counted and has not been told yet.
#[derive(Debug)]
pub(crate) struct Tally {
    writer: Uuid,
    is_on: bool,
    counted: Mutex<Counted>,
    /// There is something to be told, after there was nothing.
    counted_first: Notify,
}

#[derive(Debug, Default)]
struct Counted {
    /// One for each process that was ever counted: they are few, and counting one that is known
    /// allocates nothing.
    processes: HashMap<Process, Counts>,
    is_any: bool,
}

#[derive(Debug, Default)]
struct Counts {
    /// In the order of [`EVENTS`].
    events: [i64; EVENTS.len()],
    waits: i64,
    waited_ms: i64,
}

impl Tally {
    pub(crate) fn new(is_on: bool) -> Self {
        Self {
            writer: Uuid::new_v4(),
            is_on,
            counted: Mutex::default(),
            counted_first: Notify::new(),
        }
    }

    /// An attempt has started; the machine had been due for so long, where that is known.
    pub(crate) fn started(&self, process: &Process, waited: Option<TimeDelta>) {
        self.count(process, |counts| {
            counts.add(Event::Started, 1);
            if let Some(waited) = waited {
                counts.waits = counts.waits.saturating_add(1);
                let waited = waited.num_milliseconds().max(0);
                counts.waited_ms = counts.waited_ms.saturating_add(waited);
            }
        });
    }

    /// An attempt has ended, as far as the database has said so.
    pub(crate) fn ended(&self, process: &Process, outcome: Outcome) {
        let event = match outcome {
            Outcome::Finished => Event::Finished,
            Outcome::Failed => Event::Failed,
            Outcome::Canceled => Event::Canceled,
            Outcome::Expired => Event::Expired,
        };
        self.count(process, |counts| counts.add(event, 1));
    }

    fn count(&self, process: &Process, add: impl FnOnce(&mut Counts)) {
        if !self.is_on {
            return;
        }
        let is_first = {
            let mut counted = self.lock();
            match counted.processes.get_mut(process) {
                Some(counts) => add(counts),
                None => add(counted.processes.entry(process.clone()).or_default()),
            }
            !std::mem::replace(&mut counted.is_any, true)
        };
        if is_first {
            self.counted_first.notify_one();
        }
    }

    /// Tells the database what was counted; when nothing was, it is not asked.
    pub(crate) async fn tell(&self, pool: &Pool) -> Result<(), TxError> {
        if !self.lock().is_any {
            return Ok(());
        }
        let patience = Patience::of_server(pool);
        let mut conn = patience.checkout(pool).await?;
        // Taken last: nothing is lost while a connection is waited for.
        let counts = self.take();
        let added = patience.answer(attempt_counts::add(&mut conn, self.writer, &counts));
        match added.await {
            Ok(()) => {
                conn.give_back();
                Ok(())
            }
            Err(error) => {
                if error.kind() != ErrorKind::ConnectionLost {
                    self.put_back(&counts);
                }
                let error = error.into();
                conn.give_back_after(&error);
                Err(error)
            }
        }
    }

    fn take(&self) -> Vec<Count> {
        let mut counted = self.lock();
        counted.is_any = false;
        let counts = counted
            .processes
            .iter_mut()
            .flat_map(|(process, counts)| counts.take(process));
        counts.collect()
    }

    fn put_back(&self, counts: &[Count]) {
        for count in counts {
            self.count(&count.process, |counts| {
                counts.add(count.event, count.count);
                counts.waits = counts.waits.saturating_add(count.waits);
                counts.waited_ms = counts.waited_ms.saturating_add(count.waited_ms);
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Counted> {
        // Nothing panics while it is held.
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn add(&mut self, event: Event, count: i64) {
        for (of, counted) in EVENTS.iter().zip(&mut self.events) {
            if *of == event {
                *counted = counted.saturating_add(count);
            }
        }
    }

    /// What was counted of a process, and nothing is left.
    fn take(&mut self, process: &Process) -> impl Iterator<Item = Count> {
        let counts = std::mem::take(self);
        EVENTS
            .into_iter()
            .zip(counts.events)
            .filter(|(_, count)| *count > 0)
            .map(move |(event, count)| {
                let of_start = |number| if event == Event::Started { number } else { 0 };
                Count {
                    process: process.clone(),
                    event,
                    count,
                    waits: of_start(counts.waits),
                    waited_ms: of_start(counts.waited_ms),
                }
            })
    }
}

/// Tells until it is aborted: at the latest an interval after something was counted, and nothing when
/// nothing was.
pub(crate) async fn run(pool: Pool, tally: Arc<Tally>, interval: Duration) {
    let entropy = Uuid::new_v4().as_u128();
    for turn in 0.. {
        tally.counted_first.notified().await;
        // Between nine tenths and the whole, so that components started together drift apart.
        let early = jittered(interval / 10, bmdb_backoff::mix(entropy, turn));
        tokio::time::sleep(interval - early).await;
        if let Err(error) = tally.tell(&pool).await {
            tracing::debug!(%error, "the tally could not be told");
            // What was not even taken is told next time, though nobody announces it again.
            if tally.lock().is_any {
                tally.counted_first.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(tally: &Tally) -> Vec<(Event, i64, i64, i64)> {
        let told = tally.take().into_iter();
        told.map(|c| (c.event, c.count, c.waits, c.waited_ms))
            .collect()
    }

    #[test]
    fn what_was_taken_is_not_taken_again_and_what_is_put_back_is() {
        let (tally, process) = (Tally::new(true), Process::SHEPHERD_ACCESS);
        tally.started(&process, Some(TimeDelta::milliseconds(1500)));
        tally.started(&process, None);
        // A clock that was set back makes no time that was waited less.
        tally.started(&process, Some(TimeDelta::milliseconds(-7)));
        tally.ended(&process, Outcome::Expired);
        let counts = tally.take();
        assert_eq!(told(&tally), []);
        tally.ended(&process, Outcome::Expired);
        tally.put_back(&counts);
        let both = [(Event::Started, 3, 2, 1500), (Event::Expired, 2, 0, 0)];
        assert_eq!(told(&tally), both);
    }

    #[test]
    fn a_tally_that_is_off_counts_nothing() {
        let tally = Tally::new(false);
        tally.ended(&Process::SHEPHERD_ACCESS, Outcome::Finished);
        assert_eq!(told(&tally), []);
    }

    #[tokio::test]
    async fn whoever_tells_is_woken_by_the_first_that_is_counted_also_after_it_was_put_back() {
        let (tally, process) = (Tally::new(true), Process::SHEPHERD_ACCESS);
        for _ in 0..2 {
            tally.ended(&process, Outcome::Finished);
        }
        tally.counted_first.notified().await;
        let counts = tally.take();
        tally.put_back(&counts);
        tally.counted_first.notified().await;
        let none = tokio::time::timeout(Duration::ZERO, tally.counted_first.notified()).await;
        assert!(none.is_err());
    }
}
