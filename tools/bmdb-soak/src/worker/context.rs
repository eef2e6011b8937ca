//! What the tasks of a worker share: the journal, the seed, and whether to stop.

use super::options::Options;
use crate::failure::{self, Done};
use crate::journal::{Claim, Entry, Journal, Step};
use crate::rng::Rng;
use bmdb_core::{Bmdb, Session, SessionOptions, TxError, Work};
use bmdb_model::Fence;
use bmdb_model::history::Outcome;
use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;
use tokio_postgres::Client;

pub(super) struct Context {
    journal: Journal,
    seed: u64,
    streams: AtomicU32,
    claims: AtomicU32,
    stopping: AtomicBool,
    /// A connection that no fault hits: only in the stress.
    pub(super) side: Option<Client>,
}

/// What a task does after an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Next {
    GoOn,
    /// The session is lost, or is ending.
    EndSession,
}

impl Next {
    /// After operations that ran at once.
    pub(super) fn after_all(all: impl IntoIterator<Item = Done<Self>>) -> Done<Self> {
        let mut next = Self::GoOn;
        for one in all {
            if one? == Self::EndSession {
                next = Self::EndSession;
            }
        }
        Ok(next)
    }
}

impl Context {
    pub(super) fn new(options: &Options, side: Option<Client>) -> Done<Self> {
        Ok(Self {
            journal: Journal::create(&options.journal)?,
            seed: options.seed,
            streams: AtomicU32::new(options.number << 20),
            claims: AtomicU32::new(0),
            stopping: AtomicBool::new(false),
            side,
        })
    }

    /// Random choices for one task.
    pub(super) fn rng(&self) -> Rng {
        Rng::new(self.seed, self.streams.fetch_add(1, Ordering::Relaxed))
    }

    /// The number of the next claim of this process, from 0.
    pub(super) fn count_claim(&self) -> u32 {
        self.claims.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Sleeps for between a tenth and the whole of a time, which the stress divides by 16.
    pub(super) async fn pause(&self, rng: &mut Rng, longest_ms: u32) {
        let longest = if self.side.is_some() {
            longest_ms / 16
        } else {
            longest_ms
        };
        let millis = longest / 10 + rng.below(longest.max(1));
        tokio::time::sleep(Duration::from_millis(millis.into())).await;
    }

    pub(super) fn note(&self, entry: &Entry) -> Done {
        Ok(self.journal.note(entry)?)
    }

    pub(super) fn note_end(&self, fence: Fence, outcome: Outcome, step: Step) -> Done {
        self.note(&Entry::End(fence, outcome, step))
    }

    pub(super) fn saw(&self, what: &str) -> Done {
        self.note(&Entry::Saw(what.to_owned()))
    }

    pub(super) fn claimed(&self, work: &Work, session: &Session) -> Done {
        self.note(&Entry::Claimed(Claim {
            fence: work.fence(),
            machine: work.machine(),
            process: work.process().clone(),
            session: session.id(),
            started: work.started_at().timestamp_micros(),
        }))
    }

    /// Notes that a closure of a transaction ran that many times.
    pub(super) fn closure_ran(&self, times: u32) -> Done {
        for _ in 1..times {
            self.saw("closures run again")?;
        }
        Ok(())
    }

    pub(super) fn failed(&self, doing: &str, error: &(dyn Error + 'static)) -> Done {
        self.note(&Entry::Failed {
            doing: doing.to_owned(),
            error: failure::text(error),
        })
    }

    /// Notes an error of an operation in a session.
    pub(super) fn failed_in_session(&self, doing: &str, error: &TxError) -> Done<Next> {
        if !matches!(error, TxError::Draining) {
            self.failed(doing, error)?;
        }
        Ok(match error {
            TxError::Draining | TxError::SessionExpired => Next::EndSession,
            _ => Next::GoOn,
        })
    }

    /// Starts a session with a short lease; `None` after an error, which is noted.
    pub(super) async fn start_session(&self, bmdb: &Bmdb, rng: &mut Rng) -> Done<Option<Session>> {
        let lease = Duration::from_secs((1 + rng.below(2)).into());
        let options = SessionOptions::default().interval(lease);
        match bmdb.start_session(options).await {
            Ok(session) => Ok(Some(session)),
            Err(error) => {
                if !self.is_stopping() {
                    self.failed("starting", &error)?;
                }
                self.pause(rng, 300).await;
                Ok(None)
            }
        }
    }

    /// Closes a session, or drops it, which closes it in the background.
    pub(super) async fn close(&self, session: Session, rng: &mut Rng) -> Done {
        if rng.below(4) == 0 {
            drop(session);
            return self.saw("dropped sessions");
        }
        match session.close().await {
            Ok(()) => Ok(()),
            Err(error) => self.failed("closing", &error),
        }
    }
}
