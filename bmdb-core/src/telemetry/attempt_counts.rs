//! Attempt counts: the starts and ends of this component, counted in memory and written to the database every
//! few seconds.
//!
//! They are for people, and nothing is decided by them. So claims and ends need no statement for them; the
//! last seconds are lost if the program crashes; and counts that were being written when the connection broke
//! are not written again, because they may have arrived.

use crate::db::database::Database;
use crate::db::pool::Checkout;
use crate::db::retry::jittered;
use crate::error::TxError;
use crate::lock::lock;
use bmdb_model::history::{Event, Outcome};
use bmdb_model::internal::attempt_counts::{self, Count};
use bmdb_model::{ErrorKind, Process};
use chrono::TimeDelta;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
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

/// Counts that have not been written yet.
#[derive(Debug)]
pub(crate) struct AttemptCounts {
    writer: Uuid,
    is_on: bool,
    counted: Mutex<Counted>,
    /// Notified by the first count after a flush.
    counted_first: Notify,
}

#[derive(Debug, Default)]
struct Counted {
    /// One for each process that was ever counted: they are few, and counting a known one allocates nothing.
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

impl AttemptCounts {
    pub(crate) fn new(is_on: bool) -> Self {
        Self {
            writer: Uuid::new_v4(),
            is_on,
            counted: Mutex::default(),
            counted_first: Notify::new(),
        }
    }

    /// Counts a started attempt; `waited` is for how long the machine was due, if known.
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

    /// Counts an ended attempt. Call it once the database has confirmed the end.
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
            let mut counted = lock(&self.counted);
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

    /// Writes the counts to the database; without any, sends nothing.
    pub(crate) async fn flush(&self, database: &Database) -> Result<(), TxError> {
        if !lock(&self.counted).is_any {
            return Ok(());
        }
        let flush = async |conn: &mut Checkout| {
            // Taken last, so that nothing is lost while waiting for a connection.
            let counts = self.take();
            let added = attempt_counts::add(conn, self.writer, &counts).await;
            if let Err(error) = &added
                && error.kind() != ErrorKind::ConnectionLost
            {
                self.put_back(&counts);
            }
            Ok(added?)
        };
        database.run(flush).await
    }

    fn take(&self) -> Vec<Count> {
        let mut counted = lock(&self.counted);
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
}

impl Counts {
    fn add(&mut self, event: Event, count: i64) {
        for (of, counted) in EVENTS.iter().zip(&mut self.events) {
            if *of == event {
                *counted = counted.saturating_add(count);
            }
        }
    }

    /// Removes and returns the counts of a process.
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

/// Writes the counts until it is aborted: at most an interval after the first one was counted.
pub(crate) async fn run(
    database: Database,
    attempt_counts: Arc<AttemptCounts>,
    interval: Duration,
) {
    let entropy = Uuid::new_v4().as_u128();
    for turn in 0.. {
        attempt_counts.counted_first.notified().await;
        // Between nine tenths and the whole, so that components started together drift apart.
        let early = jittered(interval / 10, bmdb_backoff::mix(entropy, turn));
        tokio::time::sleep(interval - early).await;
        if let Err(error) = attempt_counts.flush(&database).await {
            tracing::debug!(%error, "the attempt counts could not be written");
            // Counts that were not taken are written next time, but nothing else announces them.
            if lock(&attempt_counts.counted).is_any {
                attempt_counts.counted_first.notify_one();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(attempt_counts: &AttemptCounts) -> Vec<(Event, i64, i64, i64)> {
        let taken = attempt_counts.take().into_iter();
        taken
            .map(|c| (c.event, c.count, c.waits, c.waited_ms))
            .collect()
    }

    #[test]
    fn taken_counts_are_taken_once_unless_they_are_put_back() {
        let (attempt_counts, process) = (AttemptCounts::new(true), Process::SHEPHERD_ACCESS);
        attempt_counts.started(&process, Some(TimeDelta::milliseconds(1500)));
        attempt_counts.started(&process, None);
        // A clock that was set back does not reduce the time waited.
        attempt_counts.started(&process, Some(TimeDelta::milliseconds(-7)));
        attempt_counts.ended(&process, Outcome::Expired);
        let counts = attempt_counts.take();
        assert_eq!(taken(&attempt_counts), []);
        attempt_counts.ended(&process, Outcome::Expired);
        attempt_counts.put_back(&counts);
        let both = [(Event::Started, 3, 2, 1500), (Event::Expired, 2, 0, 0)];
        assert_eq!(taken(&attempt_counts), both);
    }

    #[test]
    fn disabled_counts_stay_empty() {
        let attempt_counts = AttemptCounts::new(false);
        attempt_counts.ended(&Process::SHEPHERD_ACCESS, Outcome::Finished);
        assert_eq!(taken(&attempt_counts), []);
    }

    #[tokio::test]
    async fn the_first_count_notifies_the_writer_also_after_it_was_put_back() {
        let (attempt_counts, process) = (AttemptCounts::new(true), Process::SHEPHERD_ACCESS);
        for _ in 0..2 {
            attempt_counts.ended(&process, Outcome::Finished);
        }
        attempt_counts.counted_first.notified().await;
        let counts = attempt_counts.take();
        attempt_counts.put_back(&counts);
        attempt_counts.counted_first.notified().await;
        let none =
            tokio::time::timeout(Duration::ZERO, attempt_counts.counted_first.notified()).await;
        assert!(none.is_err());
    }
}
