//! How a worker comes by its work: one session after the other, each with several tasks.

use crate::Error;
use crate::dice::Dice;
use crate::ending::end_all;
use crate::part::{Next, Part};
use bmdb_core::{Bmdb, Claim, PollOptions, Session, SessionOptions, Tx, TxError, Work, WorkError};
use bmdb_model::{Process, Provider, retrieval};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

const START: Process = Process::SHEPHERD_AGENT_START;
const RECOVERY: Process = Process::SHEPHERD_RECOVERY;
const ACCESS: Process = Process::SHEPHERD_ACCESS;

const MILLISECOND: Duration = Duration::from_millis(1);

/// How a task comes by its work.
#[derive(Debug, Clone, Copy)]
enum Way {
    One,
    Batch,
    Poller,
    Retrieval,
}

/// Works in one session after the other until it is told to stop.
pub(crate) async fn work(bmdb: Bmdb, part: Arc<Part>) -> Result<(), Error> {
    let mut dice = part.dice();
    while !part.is_stopping() {
        let lease = Duration::from_secs((1 + dice.roll(2)).into());
        match bmdb
            .start_session(SessionOptions::default().interval(lease))
            .await
        {
            Ok(session) => work_in(session, &part, &mut dice).await?,
            Err(error) => {
                if !part.is_stopping() {
                    part.failed("starting", &error)?;
                }
                pause(&mut dice, 300).await;
            }
        }
    }
    Ok(())
}

async fn work_in(session: Session, part: &Arc<Part>, dice: &mut Dice) -> Result<(), Error> {
    let session = Arc::new(session);
    let until = Instant::now() + MILLISECOND * (2_000 + dice.roll(12_000));
    let mut tasks = JoinSet::new();
    for way in [Way::One, Way::Batch, Way::Poller, Way::Retrieval, Way::One] {
        let task = Task {
            session: session.clone(),
            part: part.clone(),
            dice: part.dice(),
            until,
        };
        tasks.spawn(task.run(way));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let Some(session) = Arc::into_inner(session) else {
        return Err("a task has kept the session".into());
    };
    if dice.roll(4) == 0 {
        drop(session);
        return part.saw("dropped sessions");
    }
    match session.close().await {
        Err(error) => part.failed("closing", &error),
        Ok(()) => Ok(()),
    }
}

/// Between a tenth and the whole of it.
async fn pause(dice: &mut Dice, longest: u32) {
    tokio::time::sleep(MILLISECOND * (longest / 10 + dice.roll(longest))).await;
}

struct Task {
    session: Arc<Session>,
    part: Arc<Part>,
    dice: Dice,
    until: Instant,
}

impl Task {
    async fn run(mut self, way: Way) -> Result<(), Error> {
        let mut next = Next::GoOn;
        if matches!(way, Way::Poller) {
            return self.poll().await;
        }
        while next == Next::GoOn && !self.is_over() {
            let claimed = match way {
                Way::Retrieval => self.retrieve().await?,
                Way::Batch => self.claim(12).await,
                _ => self.claim(1).await,
            };
            next = self.deal_with(claimed).await?;
            pause(&mut self.dice, 60).await;
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.part.is_stopping() || Instant::now() >= self.until
    }

    async fn poll(&mut self) -> Result<(), Error> {
        let claim = Claim::of(&RECOVERY).provider(&Provider::EQUINIX);
        let delays = PollOptions::default().poll_interval(MILLISECOND * 50, MILLISECOND * 500);
        let session = self.session.clone();
        let mut poller = session
            .poller_with(&claim, delays)
            .and_provider(&Provider::LUMEN);
        let mut next = Next::GoOn;
        while next == Next::GoOn && !self.is_over() {
            let limit = 1 + self.dice.roll(6);
            let patience = MILLISECOND * 500;
            // Its answer is not lost: the next call gets it.
            if let Ok(claimed) = tokio::time::timeout(patience, poller.next(limit)).await {
                if claimed.is_err() {
                    pause(&mut self.dice, 200).await;
                }
                next = self.deal_with(claimed).await?;
            }
        }
        Ok(())
    }

    async fn claim(&mut self, most: u32) -> Result<Vec<Work>, TxError> {
        let process = if self.dice.roll(3) == 0 {
            RECOVERY
        } else {
            START
        };
        let claim = Claim::of(&process).limit(1 + self.dice.roll(most));
        let claim = match self.dice.roll(3) {
            0 => claim,
            1 => claim.provider(&Provider::LUMEN),
            _ => claim.provider(&Provider::EQUINIX),
        };
        if self.dice.roll(20) > 0 {
            return self.session.claim(&claim).await;
        }
        // Given up: what it may have claimed is given back by itself.
        let patience = MILLISECOND * self.dice.roll(5);
        let claimed = tokio::time::timeout(patience, self.session.claim(&claim)).await;
        claimed.unwrap_or(Ok(Vec::new()))
    }

    async fn retrieve(&mut self) -> Result<Result<Vec<Work>, TxError>, Error> {
        let work = self
            .session
            .work(&ACCESS, async |tx: &mut Tx<'_>| {
                let due = retrieval::for_agent_start(tx, &ACCESS, None, 3).await?;
                Ok(due.into_iter().map(|p| p.machine_id).collect())
            })
            .await;
        Ok(match work {
            Ok(work) => Ok(vec![work]),
            Err(
                WorkError::NothingToDo
                | WorkError::Conflict { .. }
                | WorkError::BackedOff { .. }
                | WorkError::OnHold { .. },
            ) => Ok(Vec::new()),
            Err(WorkError::SessionExpired) => Err(TxError::SessionExpired),
            Err(WorkError::CommitUnknown(error)) => Err(TxError::CommitUnknown(error)),
            Err(WorkError::Database(error)) => Err(TxError::Database(error)),
            Err(WorkError::Transaction(error)) => Err(error),
            Err(error) => {
                self.part.failed("retrieving", &error)?;
                Ok(Vec::new())
            }
        })
    }

    /// Notes and ends what was claimed.
    async fn deal_with(&mut self, claimed: Result<Vec<Work>, TxError>) -> Result<Next, Error> {
        match claimed {
            Ok(works) => {
                for work in &works {
                    self.part.claimed(work, self.session.id())?;
                }
                end_all(&self.part, &mut self.dice, &self.session, works).await
            }
            Err(error) => {
                let next = self.part.befallen("claiming", &error)?;
                pause(&mut self.dice, 300).await;
                Ok(next)
            }
        }
    }
}
