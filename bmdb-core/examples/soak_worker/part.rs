//! What the tasks of a worker share: its journal, its dice, and whether it is told to stop.

use crate::dice::Dice;
use crate::{Error, Options};
use bmdb_core::{TxError, Work};
use bmdb_testkit::journal::{Entry, Journal};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

pub(crate) struct Part {
    journal: Journal,
    seed: u64,
    streams: AtomicU32,
    stopping: AtomicBool,
}

/// What a task does after an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    /// Goes on in its session.
    GoOn,
    /// The session is gone, or its end is near.
    Over,
}

impl Part {
    pub(crate) fn new(options: &Options) -> Result<Self, Error> {
        Ok(Self {
            journal: Journal::create(&options.journal)?,
            seed: options.seed,
            streams: AtomicU32::new(options.number << 20),
            stopping: AtomicBool::new(false),
        })
    }

    /// Choices of a task's own.
    pub(crate) fn dice(&self) -> Dice {
        Dice::new(self.seed, self.streams.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    pub(crate) fn note(&self, entry: &Entry) -> Result<(), Error> {
        Ok(self.journal.note(entry)?)
    }

    pub(crate) fn saw(&self, what: &str) -> Result<(), Error> {
        self.note(&Entry::Saw(what.to_owned()))
    }

    pub(crate) fn claimed(&self, work: &Work, session: bmdb_model::SessionId) -> Result<(), Error> {
        self.note(&Entry::Claimed {
            fence: work.fence(),
            machine: work.machine(),
            process: work.process().clone(),
            session,
            started: work.started_at().timestamp_micros(),
        })
    }

    /// Notes an error with its words: whoever reads the journal decides whether a fault accounts for
    /// it.
    pub(crate) fn failed(
        &self,
        doing: &str,
        error: &(dyn std::error::Error + 'static),
    ) -> Result<(), Error> {
        let mut words = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            let said = cause.to_string();
            if !words.contains(&said) {
                words = format!("{words}: {said}");
            }
            source = cause.source();
        }
        self.note(&Entry::Failed {
            doing: doing.to_owned(),
            error: words,
        })
    }

    /// Notes an error of an operation in a session, and says how to go on.
    pub(crate) fn befallen(&self, doing: &str, error: &TxError) -> Result<Next, Error> {
        match error {
            TxError::Draining => return Ok(Next::Over),
            TxError::SessionExpired => {
                self.failed(doing, error)?;
                return Ok(Next::Over);
            }
            // What is new, and says that there is no new work at the moment, is tried again too.
            _ => self.failed(doing, error)?,
        }
        Ok(Next::GoOn)
    }
}
