//! How a worker claims machines: in one session after the other, each with several tasks.

use super::context::{Context, Next};
use super::ending::end_all;
use crate::failure::{Done, Failure};
use crate::fixture::CHECK;
use crate::rng::Rng;
use bmdb_core::{Bmdb, Claim, PollOptions, Session, Tx, TxError, Work, WorkError};
use bmdb_model::{Process, Provider, retrieval};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const START: Process = Process::SHEPHERD_AGENT_START;
const RECOVERY: Process = Process::SHEPHERD_RECOVERY;
const ACCESS: Process = Process::SHEPHERD_ACCESS;

const MILLISECOND: Duration = Duration::from_millis(1);

/// The task of a session that uses a poller; the others claim in all other ways.
const POLLER: usize = 2;

/// Works in one session after the other until the worker stops.
pub(super) async fn work(bmdb: Bmdb, context: Arc<Context>, tasks: usize) -> Done {
    let mut rng = context.rng();
    while !context.is_stopping() {
        if let Some(session) = context.start_session(&bmdb, &mut rng).await? {
            work_in(session, &context, &mut rng, tasks).await?;
        }
    }
    Ok(())
}

async fn work_in(session: Session, context: &Arc<Context>, rng: &mut Rng, count: usize) -> Done {
    let session = Arc::new(session);
    let longest = if context.side.is_some() {
        2_000
    } else {
        14_000
    };
    let until = Instant::now() + MILLISECOND * (longest / 7 + rng.below(longest * 6 / 7));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let task = Task {
            session: session.clone(),
            context: context.clone(),
            rng: context.rng(),
            until,
        };
        tasks.spawn(task.run(number));
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    match Arc::into_inner(session) {
        Some(session) => context.close(session, rng).await,
        None => Err(Failure::step("a task has kept the session")),
    }
}

struct Task {
    session: Arc<Session>,
    context: Arc<Context>,
    rng: Rng,
    until: Instant,
}

impl Task {
    async fn run(mut self, number: usize) -> Done {
        if number == POLLER {
            return self.poll().await;
        }
        let mut next = Next::GoOn;
        while next == Next::GoOn && !self.is_over() {
            let claimed = match self.rng.below(20) {
                0 => self.claim_with_timeout().await?,
                1..=5 => self.retrieve().await?,
                _ => self.claim().await,
            };
            let is_idle = claimed.as_ref().is_ok_and(Vec::is_empty);
            next = self.end(claimed).await?;
            if is_idle || self.context.side.is_none() {
                self.context.pause(&mut self.rng, 60).await;
            }
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.context.is_stopping() || Instant::now() >= self.until
    }

    async fn poll(&mut self) -> Done {
        let claim = Claim::of(&RECOVERY).provider(&Provider::EQUINIX);
        let interval = PollOptions::default().poll_interval(MILLISECOND * 50, MILLISECOND * 500);
        let session = self.session.clone();
        let mut poller = session
            .poller_with(&claim, interval)
            .and_provider(&Provider::LUMEN);
        let mut next = Next::GoOn;
        while next == Next::GoOn && !self.is_over() {
            let limit = 1 + self.rng.below(6);
            // After a timeout the answer is not lost: the next call returns it.
            if let Ok(claimed) = timeout(MILLISECOND * 500, poller.next(limit)).await {
                next = self.end(claimed).await?;
            }
        }
        Ok(())
    }

    async fn claim(&mut self) -> Result<Vec<Work>, TxError> {
        let process = match self.rng.below(10) {
            0..=3 => RECOVERY,
            4 => CHECK,
            _ => START,
        };
        // Small batches more often than large ones.
        let largest = *self.rng.pick(&[1, 1, 5, 20]);
        let claim = Claim::of(&process).limit(1 + self.rng.below(largest));
        let claim = match self.rng.below(3) {
            0 => claim,
            1 => claim.provider(&Provider::LUMEN),
            _ => claim.provider(&Provider::EQUINIX),
        };
        self.session.claim(&claim).await
    }

    /// A claim whose future may be dropped: what it has claimed is then released in the background.
    async fn claim_with_timeout(&mut self) -> Done<Result<Vec<Work>, TxError>> {
        let limit = Duration::from_micros(500) * self.rng.below(8);
        let Ok(claimed) = timeout(limit, self.claim()).await else {
            self.context.saw("dropped claims")?;
            return Ok(Ok(Vec::new()));
        };
        Ok(claimed)
    }

    async fn retrieve(&mut self) -> Done<Result<Vec<Work>, TxError>> {
        let work = self
            .session
            .work(&ACCESS, async |tx: &mut Tx<'_>| {
                let due = retrieval::for_agent_start(tx, &ACCESS, None, 3).await?;
                Ok(due.into_iter().map(|p| p.machine_id).collect())
            })
            .await;
        match work {
            Ok(work) => return Ok(Ok(vec![work])),
            Err(WorkError::NothingToDo) => {}
            Err(WorkError::Conflict { .. }) => self.context.saw("conflicts")?,
            Err(WorkError::BackedOff { .. }) => self.context.saw("backed off")?,
            Err(WorkError::OnHold { .. }) => self.context.saw("on hold")?,
            Err(WorkError::Paused { .. }) => self.context.saw("paused")?,
            Err(WorkError::Limited { .. }) => self.context.saw("limited")?,
            Err(WorkError::SessionExpired) => return Ok(Err(TxError::SessionExpired)),
            Err(WorkError::CommitUnknown(error)) => return Ok(Err(TxError::CommitUnknown(error))),
            Err(WorkError::Database(error)) => return Ok(Err(TxError::Database(error))),
            Err(WorkError::Transaction(error)) => return Ok(Err(error)),
            Err(error) => self.context.failed("retrieving", &error)?,
        }
        Ok(Ok(Vec::new()))
    }

    /// Notes and ends what was claimed.
    async fn end(&mut self, claimed: Result<Vec<Work>, TxError>) -> Done<Next> {
        match claimed {
            Ok(claimed) if claimed.is_empty() => Ok(Next::GoOn),
            Ok(claimed) => {
                for work in &claimed {
                    self.context.claimed(work, &self.session)?;
                }
                end_all(&self.context, &mut self.rng, &self.session, claimed).await
            }
            Err(error) => {
                let next = self.context.failed_in_session("claiming", &error)?;
                self.context.pause(&mut self.rng, 300).await;
                Ok(next)
            }
        }
    }
}
