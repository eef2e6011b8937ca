//! Workers of the load, each alone or as one loop.

use crate::measured::Measured;
use crate::{BACKOFF, CAUSE, Error};
use bmdb_core::{Claim, Session, TxError, Work};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Time(Duration),
    Machines(u64),
}

/// The load that all workers share.
struct Shared {
    until: Until,
    began: Instant,
    machines: AtomicU64,
}

impl Shared {
    fn new(until: Until) -> Self {
        Self {
            until,
            began: Instant::now(),
            machines: AtomicU64::new(0),
        }
    }

    fn is_over(&self) -> bool {
        match self.until {
            Until::Time(time) => self.began.elapsed() >= time,
            Until::Machines(machines) => self.machines.load(Ordering::Relaxed) >= machines,
        }
    }

    fn done(&self, machines: usize) {
        let machines = u64::try_from(machines).unwrap_or(u64::MAX);
        self.machines.fetch_add(machines, Ordering::Relaxed);
    }
}

/// Each worker claims machines and fails them.
pub(crate) async fn each(
    session: &Arc<Session>,
    claim: &Claim,
    workers: usize,
    until: Until,
) -> Result<Measured, Error> {
    // Warm up: open the connections and prepare the statements.
    rounds(session, claim, workers, Until::Machines(1)).await?;
    rounds(session, claim, workers, until).await
}

async fn rounds(
    session: &Arc<Session>,
    claim: &Claim,
    workers: usize,
    until: Until,
) -> Result<Measured, Error> {
    let shared = Arc::new(Shared::new(until));
    let mut running = JoinSet::new();
    for _ in 0..workers {
        running.spawn(work(session.clone(), claim.clone(), shared.clone()));
    }
    let mut all = Measured::default();
    while let Some(measured) = running.join_next().await {
        all.add(measured??);
    }
    Ok(all)
}

/// Runs at least one cycle, so that every worker warms up.
async fn work(session: Arc<Session>, claim: Claim, shared: Arc<Shared>) -> Result<Measured, Error> {
    let mut measured = Measured::default();
    loop {
        let claimed = timed_claim(&session, &claim, &mut measured).await?;
        let machines = claimed.len();
        fail(&session, claimed).await?;
        shared.done(machines);
        measured.machines += u64::try_from(machines)?;
        if shared.is_over() {
            measured.time = shared.began.elapsed();
            return Ok(measured);
        }
    }
}

async fn timed_claim(
    session: &Session,
    claim: &Claim,
    measured: &mut Measured,
) -> Result<Vec<Work>, Error> {
    let began = Instant::now();
    let claimed = loop {
        match session.claim(claim).await {
            // A heartbeat was late under the load. The wait is part of the measurement.
            Err(TxError::Suspect) => {
                session.wait_while_suspect().await;
            }
            claimed => break claimed?,
        }
    };
    if claimed.is_empty() {
        measured.empty += 1;
    } else {
        measured.claims.push(began.elapsed());
    }
    Ok(claimed)
}

async fn fail(session: &Session, mut claimed: Vec<Work>) -> Result<(), Error> {
    if claimed.len() == 1
        && let Some(work) = claimed.pop()
    {
        work.fail(&BACKOFF, CAUSE).await?;
        return Ok(());
    }
    let failures = claimed.into_iter().map(|work| (work, &BACKOFF, CAUSE));
    for failed in session.fail_all(failures).await {
        failed?;
    }
    Ok(())
}

/// A loop claims for all free workers. Each worker ends its own work.
pub(crate) async fn one_loop(
    session: &Session,
    claim: &Claim,
    workers: usize,
    until: Until,
) -> Result<Measured, Error> {
    claim_for_free(session, claim, workers, Until::Machines(1)).await?;
    claim_for_free(session, claim, workers, until).await
}

async fn claim_for_free(
    session: &Session,
    claim: &Claim,
    workers: usize,
    until: Until,
) -> Result<Measured, Error> {
    let shared = Shared::new(until);
    let mut measured = Measured::default();
    let mut running = JoinSet::new();
    loop {
        if !shared.is_over() {
            let free = u32::try_from(workers.saturating_sub(running.len()))?;
            let claim = claim.clone().limit(free);
            for work in timed_claim(session, &claim, &mut measured).await? {
                running.spawn(async move { work.fail(&BACKOFF, CAUSE).await.map(drop) });
            }
        }
        match running.join_next().await {
            Some(ended) => ended??,
            None if shared.is_over() => break,
            None => continue,
        }
        let mut ended = 1;
        // Ends of one batch arrive at the same time: let all of them finish.
        tokio::task::yield_now().await;
        while let Some(another) = running.try_join_next() {
            another??;
            ended += 1;
        }
        shared.done(ended);
        measured.machines += u64::try_from(ended)?;
    }
    measured.time = shared.began.elapsed();
    Ok(measured)
}
