//! One worker of the stress: claims at random, in one session after the other.

use super::dice::Dice;
use super::ending::{self, Mood};
use super::legal::{Next, tolerate};
use super::part::Stage;
use bmdb_core::{Claim, Session, SessionError, SessionOptions, Tx, TxError, Work, WorkError};
use bmdb_model::migration::MigrationError;
use bmdb_model::{Process, Provider, retrieval};
use std::sync::Arc;
use std::time::Duration;

pub(super) const START: Process = Process::SHEPHERD_AGENT_START;
pub(super) const ACCESS: Process = Process::SHEPHERD_ACCESS;
pub(super) const RECOVERY: Process = Process::SHEPHERD_RECOVERY;

/// How many times a session claims at most.
const CLAIMS: u32 = 60;

pub(super) struct Worker {
    stage: Arc<Stage>,
    number: u32,
    dice: Dice,
    /// How many claims it has got.
    claims: u32,
}

/// A new session, with one of the shortest leases; `None` where a fault forbids it.
pub(super) async fn start_session(stage: &Stage, dice: &mut Dice) -> Option<Session> {
    let lease = Duration::from_secs((dice.roll(2) + 1).into());
    let options = SessionOptions::default().interval(lease);
    match stage.bmdb.start_session(options).await {
        Ok(session) => Some(session),
        Err(SessionError::Transaction(error)) => {
            let _next = tolerate("starting a session", &error);
            None
        }
        // The connection was killed while it looked at the schema.
        Err(SessionError::Migration(MigrationError::Database(error))) => {
            let _next = tolerate("starting a session", &TxError::from(error));
            None
        }
        Err(error) => panic!("starting a session: {error}"),
    }
}

/// Closes a session, or leaves that to the background.
pub(super) async fn close(session: Session, dice: &mut Dice) {
    if dice.roll(3) == 0 {
        return drop(session);
    }
    if let Err(error) = session.close().await {
        let _next = tolerate("closing", &error);
    }
}

impl Worker {
    pub(super) fn new(stage: Arc<Stage>, number: u32, dice: Dice) -> Self {
        Self {
            stage,
            number,
            dice,
            claims: 0,
        }
    }

    /// Works until the time is up.
    pub(super) async fn run(mut self) {
        while !self.stage.is_over() {
            if let Some(session) = start_session(&self.stage, &mut self.dice).await {
                self.work_in(&session).await;
                close(session, &mut self.dice).await;
            }
        }
    }

    async fn work_in(&mut self, session: &Session) {
        for _ in 0..=self.dice.roll(CLAIMS) {
            if self.stage.is_over() {
                return;
            }
            let works = match self.claim_somehow(session).await {
                Ok(works) => works,
                Err(error) => match tolerate("claiming", &error) {
                    Next::GoOn => {
                        session.wait_while_suspect().await;
                        continue;
                    }
                    Next::Over => return,
                },
            };
            if works.is_empty() {
                let pause = Duration::from_millis(1) * self.dice.roll(10);
                tokio::time::sleep(pause).await;
                continue;
            }
            for work in &works {
                self.stage.journal.claimed(work.machine(), work.fence());
            }
            self.claims += 1;
            let mood = self.mood();
            let ended = ending::end(&self.stage, &mut self.dice, mood, session, works).await;
            if ended == Next::Over {
                return;
            }
        }
    }

    fn mood(&mut self) -> Mood {
        // Rare, but no run should have to do without.
        match (self.number, self.claims, self.dice.roll(100)) {
            (0, 2, _) | (_, _, 0..=2) => Mood::Zombie,
            (1, 2, _) | (_, _, 3..=4) => Mood::Walker,
            (_, _, 5..=29) => Mood::Together,
            _ => Mood::OneByOne,
        }
    }

    async fn claim_somehow(&mut self, session: &Session) -> Result<Vec<Work>, TxError> {
        match self.dice.roll(10) {
            0..=2 => self.claim(session, &START).await,
            3..=5 => self.claim(session, &RECOVERY).await,
            6 => self.claim_impatiently(session).await,
            _ => self.retrieve(session).await,
        }
    }

    async fn claim(&mut self, session: &Session, process: &Process) -> Result<Vec<Work>, TxError> {
        // Small batches more often than large ones.
        let largest = *self.dice.pick(&[1, 1, 5, 20]);
        let claim = Claim::of(process).limit(self.dice.roll(largest) + 1);
        let claim = match self.dice.roll(3) {
            0 => claim,
            1 => claim.provider(&Provider::LUMEN),
            _ => claim.provider(&Provider::EQUINIX),
        };
        session.claim(&claim).await
    }

    /// A claim that is dropped if it takes long, and then given back by itself.
    async fn claim_impatiently(&mut self, session: &Session) -> Result<Vec<Work>, TxError> {
        let patience = Duration::from_micros(500) * self.dice.roll(8);
        let process = [START, RECOVERY][self.dice.roll(2) as usize].clone();
        let claim = self.claim(session, &process);
        if let Ok(works) = tokio::time::timeout(patience, claim).await {
            return works;
        }
        self.stage.journal.saw("dropped claims");
        Ok(Vec::new())
    }

    async fn retrieve(&mut self, session: &Session) -> Result<Vec<Work>, TxError> {
        let work = session
            .work(&ACCESS, async |tx: &mut Tx<'_>| {
                let due = retrieval::for_agent_start(tx, &ACCESS, None, 3).await?;
                Ok(due.into_iter().map(|p| p.machine_id).collect())
            })
            .await;
        match work {
            Ok(work) => return Ok(vec![work]),
            Err(WorkError::NothingToDo) => {}
            Err(WorkError::Conflict { .. }) => self.stage.journal.saw("conflicts"),
            Err(WorkError::BackedOff { .. }) => self.stage.journal.saw("backed off"),
            Err(WorkError::OnHold { .. }) => self.stage.journal.saw("on hold"),
            Err(WorkError::SessionExpired) => return Err(TxError::SessionExpired),
            Err(WorkError::Suspect) => return Err(TxError::Suspect),
            Err(WorkError::CommitUnknown(error)) => return Err(TxError::CommitUnknown(error)),
            Err(WorkError::Database(error)) => return Err(error.into()),
            Err(WorkError::Transaction(error)) => return Err(error),
            Err(error) => panic!("retrieving: {error}"),
        }
        Ok(Vec::new())
    }
}
