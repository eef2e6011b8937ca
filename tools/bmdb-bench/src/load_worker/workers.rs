//! Workers of the load, each alone or as one loop.

use crate::Error;
use crate::ends::{self, End};
use crate::measured::Measured;
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

/// What all workers do.
pub(crate) struct Load {
    pub(crate) session: Arc<Session>,
    pub(crate) claim: Claim,
    pub(crate) end: End,
    pub(crate) workers: usize,
}

impl Load {
    /// Each worker claims machines and ends them.
    pub(crate) async fn each(&self, until: Until) -> Result<Measured, Error> {
        // Warm up: open the connections and prepare the statements.
        self.rounds(Until::Machines(1)).await?;
        self.rounds(until).await
    }

    async fn rounds(&self, until: Until) -> Result<Measured, Error> {
        let shared = Arc::new(Shared::new(until));
        let mut running = JoinSet::new();
        for _ in 0..self.workers {
            let (session, claim) = (self.session.clone(), self.claim.clone());
            running.spawn(work(session, claim, self.end, shared.clone()));
        }
        let mut all = Measured::default();
        while let Some(measured) = running.join_next().await {
            all.add(measured??);
        }
        Ok(all)
    }

    /// A loop claims for all free workers. Each worker ends its own work.
    pub(crate) async fn one_loop(&self, until: Until) -> Result<Measured, Error> {
        self.claim_for_free(Until::Machines(1)).await?;
        self.claim_for_free(until).await
    }

    async fn claim_for_free(&self, until: Until) -> Result<Measured, Error> {
        let shared = Shared::new(until);
        let mut measured = Measured::default();
        let mut running = JoinSet::new();
        loop {
            if !shared.is_over() {
                let free = u32::try_from(self.workers.saturating_sub(running.len()))?;
                let claim = self.claim.clone().limit(free);
                for work in timed_claim(&self.session, &claim, &mut measured).await? {
                    let (session, end) = (self.session.clone(), self.end);
                    running.spawn(async move { ends::end(&session, end, vec![work]).await });
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
}

/// Runs at least one cycle, so that every worker warms up.
async fn work(
    session: Arc<Session>,
    claim: Claim,
    end: End,
    shared: Arc<Shared>,
) -> Result<Measured, Error> {
    let mut measured = Measured::default();
    loop {
        let claimed = timed_claim(&session, &claim, &mut measured).await?;
        let machines = claimed.len();
        ends::end(&session, end, claimed).await?;
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
