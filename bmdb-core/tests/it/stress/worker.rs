//! One worker of the stress: claims at random and ends at random, well and badly.

use crate::scenario::RETRY;
use bmdb_core::{
    Bmdb, Claim, EndError, Session, SessionOptions, Tx, TxError, TxOptions, Work, WorkError,
};
use bmdb_model::{AgentStarted, Fence, MachineId, Process, Provider, retrieval};
use bmdb_testkit::TestDb;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

const START: Process = Process::SHEPHERD_AGENT_START;
const ACCESS: Process = Process::SHEPHERD_ACCESS;

/// What the workers share.
pub(super) struct Fleet {
    db: Arc<TestDb>,
    machines: Vec<MachineId>,
    until: Instant,
    claimed: Mutex<Vec<(MachineId, Fence)>>,
}

impl Fleet {
    pub(super) fn new(db: Arc<TestDb>, machines: Vec<MachineId>, until: Instant) -> Self {
        Self {
            db,
            machines,
            until,
            claimed: Mutex::default(),
        }
    }

    /// Every claim that a worker got.
    pub(super) fn claimed(&self) -> Vec<(MachineId, Fence)> {
        self.claimed.lock().unwrap().clone()
    }
}

pub(super) struct Worker {
    bmdb: Bmdb,
    fleet: Arc<Fleet>,
    seed: u128,
    rolls: u64,
}

impl Worker {
    pub(super) fn new(number: usize, bmdb: Bmdb, fleet: Arc<Fleet>) -> Self {
        Self {
            bmdb,
            fleet,
            seed: number as u128,
            rolls: 0,
        }
    }

    /// Works in one session after the other until the time is up.
    pub(super) async fn run(mut self) {
        while Instant::now() < self.fleet.until {
            let options = SessionOptions::default().interval(Duration::from_secs(2));
            let session = self.bmdb.start_session(options).await.unwrap();
            match self.work_in(&session).await {
                Ok(()) => match session.close().await {
                    Ok(()) | Err(TxError::SessionExpired) => {}
                    Err(error) => panic!("closing: {error}"),
                },
                Err(TxError::SessionExpired) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn work_in(&mut self, session: &Session) -> Result<(), TxError> {
        while Instant::now() < self.fleet.until {
            let works = match self.roll(10) {
                0 => self.claim_impatiently(session).await?,
                1..=6 => self.claim(session).await?,
                7 | 8 => self.retrieve(session).await?,
                _ => {
                    self.hold_one(session).await?;
                    continue;
                }
            };
            if works.is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            for work in works {
                let claim = (work.machine(), work.fence());
                self.fleet.claimed.lock().unwrap().push(claim);
                self.end(session, work).await?;
            }
        }
        Ok(())
    }

    async fn claim(&mut self, session: &Session) -> Result<Vec<Work>, TxError> {
        let claim = Claim::of(&START).limit(self.roll(5) + 1);
        let claim = match self.roll(2) {
            0 => claim.provider(&Provider::EQUINIX),
            _ => claim,
        };
        session.claim(&claim).await
    }

    /// A claim that is dropped if it takes long, and then given back by itself.
    async fn claim_impatiently(&mut self, session: &Session) -> Result<Vec<Work>, TxError> {
        let patience = Duration::from_micros(500) * self.roll(4);
        let claim = self.claim(session);
        match tokio::time::timeout(patience, claim).await {
            Ok(works) => works,
            Err(_) => Ok(Vec::new()),
        }
    }

    async fn retrieve(&mut self, session: &Session) -> Result<Vec<Work>, TxError> {
        let work = session
            .work(&ACCESS, async |tx: &mut Tx<'_>| {
                let due = retrieval::for_agent_start(tx, &ACCESS, None, 3).await?;
                Ok(due.into_iter().map(|p| p.machine_id).collect())
            })
            .await;
        match work {
            Ok(work) => Ok(vec![work]),
            Err(WorkError::SessionExpired) => Err(TxError::SessionExpired),
            Err(
                WorkError::NothingToDo
                | WorkError::Conflict { .. }
                | WorkError::BackedOff { .. }
                | WorkError::Held { .. },
            ) => Ok(Vec::new()),
            Err(error) => panic!("a retrieval failed: {error}"),
        }
    }

    async fn hold_one(&mut self, session: &Session) -> Result<(), TxError> {
        let number = self.roll(1000) as usize % self.fleet.machines.len();
        let machine = self.fleet.machines[number];
        let options = TxOptions::read_committed();
        session
            .transact_with(options, async |tx| tx.hold(machine, "test").await)
            .await?;
        session
            .transact_with(options, async |tx| tx.release_hold(machine).await)
            .await?;
        Ok(())
    }

    async fn end(&mut self, session: &Session, work: Work) -> Result<(), TxError> {
        let ended = match self.roll(100) {
            0..=29 => work.fail(&RETRY, "test").await.map(drop),
            30..=49 => work.cancel().await,
            50..=69 => work.finish_unchanged().await,
            70..=89 => {
                let machine = work.machine();
                finish(work)
                    .await
                    .map_err(EndError::into_parts)
                    .map_err(reason)?;
                // It needs its agent started again.
                return session
                    .transact_with(TxOptions::read_committed(), async |tx| {
                        tx.unset_agent(machine).await
                    })
                    .await;
            }
            90..=97 => {
                drop(work);
                Ok(())
            }
            _ => return self.come_back_as_a_zombie(session, work).await,
        };
        ended.map_err(EndError::into_parts).map_err(reason)
    }

    /// Loses the lease, and tries to finish when somebody else may have the machine.
    async fn come_back_as_a_zombie(
        &mut self,
        session: &Session,
        work: Work,
    ) -> Result<(), TxError> {
        if self.fleet.db.expire(session.id()).await.is_err() {
            // The janitor was there already.
            return Err(TxError::SessionExpired);
        }
        tokio::time::sleep(Duration::from_millis(60) * self.roll(30)).await;
        let refused = match self.roll(2) {
            0 => finish(work).await,
            _ => work.fail(&RETRY, "zombie").await.map(drop),
        };
        let (reason, work) = refused.unwrap_err().into_parts();
        assert!(matches!(reason, TxError::SessionExpired), "{reason}");
        assert!(work.is_none());
        Err(reason)
    }

    /// A number below `sides`.
    fn roll(&mut self, sides: u32) -> u32 {
        self.rolls += 1;
        let random = bmdb_backoff::mix(self.seed, self.rolls);
        u32::try_from(random % u64::from(sides)).unwrap()
    }
}

async fn finish(work: Work) -> Result<(), EndError> {
    let machine = work.machine();
    work.finish(async |tx| {
        tx.set_agent_started(machine, &AgentStarted::now(b"key"))
            .await
    })
    .await
}

/// Why an end failed. Only the loss of the lease may be the reason here, and takes the work along.
fn reason((reason, work): (TxError, Option<Work>)) -> TxError {
    assert!(work.is_none(), "an end failed: {reason}");
    reason
}
