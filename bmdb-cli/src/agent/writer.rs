//! Writes heartbeats in batches, and listens meanwhile. An outage of the database does not end it.

use super::input::{Heartbeat, Line, Name};
use super::summary::Summary;
use crate::context::{Context, close_session};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::error_line;
use bmdb_core::{AgentListener, Bmdb, Session, SessionOptions, SessionState, TxError, TxOptions};
use bmdb_model::{AgentHeartbeat, MachineId, Provider, provided};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::pin::Pin;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;
use tokio::time::{Instant, sleep, timeout_at};

/// How long a batch waits for further lines.
const COLLECT: Duration = Duration::from_millis(50);

/// The most heartbeats of one statement.
const BATCH: usize = 1000;

/// How many heartbeats are kept while the database is away.
const KEPT: usize = 100_000;

/// After which time a heartbeat that says no time is not written as a heartbeat of now.
const FRESH: Duration = Duration::from_secs(30);

/// How long the database may be away after the end of the input.
const AFTER_INPUT: Duration = Duration::from_secs(30);

/// How often a batch is tried that fails although the database answers.
const TRIES: u32 = 3;

/// The pauses between two tries to start a session.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// For how many unknown machines it is remembered that they were reported.
const REPORTED: usize = 10_000;

pub(super) struct Writer<'c> {
    context: &'c Context,
    bmdb: Bmdb,
    provider: Option<Provider>,
    open: (Session, AgentListener),
    /// What has not been written yet, oldest first.
    pending: Vec<Heartbeat>,
    /// The ids of machines that were named otherwise.
    ids: HashMap<Name, MachineId>,
    /// Unknown machines that were reported.
    reported: HashSet<Name>,
    summary: Summary,
}

/// What to do after a pause or an outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    GoOn,
    End,
}

type Stopped<'s> = Pin<&'s mut (dyn Future<Output = ()> + Send)>;

impl<'c> Writer<'c> {
    pub(super) async fn start(
        context: &'c Context,
        provider: Option<Provider>,
    ) -> Result<Self, Failure> {
        let config = context.config().component("bmdb-agent-heartbeat");
        let bmdb = Bmdb::connect(config).await;
        let bmdb = bmdb.map_err(|error| context.explain(error))?;
        Ok(Self {
            open: listen(&bmdb, provider.as_ref()).await?,
            context,
            bmdb,
            provider,
            pending: Vec::new(),
            ids: HashMap::new(),
            reported: HashSet::new(),
            summary: Summary::default(),
        })
    }

    /// Writes until the input ends or the program is stopped.
    ///
    /// # Errors
    /// Only those after which trying again is useless.
    pub(super) async fn run(
        &mut self,
        mut lines: Receiver<Line>,
        stopped: impl Future<Output = ()> + Send,
    ) -> Result<Summary, Failure> {
        let mut stopped = std::pin::pin!(stopped);
        loop {
            if self.pending.is_empty() {
                let line = tokio::select! {
                    biased;
                    () = &mut stopped => break,
                    line = lines.recv() => line,
                    // At once, and not with the next line: nobody listens meanwhile.
                    () = self.open.0.lost() => {
                        let lost = Failure::from(TxError::SessionExpired);
                        match self.reopen(lost, &mut lines, stopped.as_mut()).await? {
                            Next::GoOn => continue,
                            Next::End => break,
                        }
                    }
                };
                let Some(line) = line else { break };
                self.collect(line, &mut lines).await;
            }
            if self.write(&mut lines, stopped.as_mut()).await? == Next::End {
                break;
            }
        }
        self.drop_all();
        Ok(self.summary)
    }

    /// Ends listening.
    pub(super) async fn close(self) {
        let (session, listener) = self.open;
        listener.stop();
        close_session(session).await;
        if let Err(error) = self.bmdb.drain(Duration::ZERO).await {
            tracing::debug!(%error, "closing");
        }
    }

    /// Adds a line, and what arrives soon after it.
    async fn collect(&mut self, line: Line, lines: &mut Receiver<Line>) {
        self.add(line);
        let until = Instant::now() + COLLECT;
        while self.pending.len() < BATCH {
            match timeout_at(until, lines.recv()).await {
                Ok(Some(line)) => self.add(line),
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn add(&mut self, line: Line) {
        match line {
            Line::Heartbeat(_) if self.pending.len() >= KEPT => self.summary.dropped += 1,
            Line::Heartbeat(heartbeat) => self.pending.push(heartbeat),
            Line::Invalid(number, why) => {
                self.summary.invalid += 1;
                self.report(&Failure::usage(format!("line {number}: {why}")));
            }
        }
    }

    /// Writes the pending heartbeats.
    async fn write(
        &mut self,
        lines: &mut Receiver<Line>,
        mut stopped: Stopped<'_>,
    ) -> Result<Next, Failure> {
        let mut tries = 0;
        while !self.pending.is_empty() {
            let batch: Vec<Heartbeat> = self
                .pending
                .drain(..self.pending.len().min(BATCH))
                .collect();
            let Err(error) = self.try_write(&batch).await else {
                tries = 0;
                continue;
            };
            let is_over = self.open.0.state() == SessionState::Lost;
            tries += u32::from(!is_over && !is_outage(&error));
            if tries == TRIES {
                self.report(&error.into());
                self.summary.dropped += count(batch.len());
                tries = 0;
                continue;
            }
            self.pending.splice(..0, batch);
            if !is_over {
                // An outage that lasts ends the session.
                tokio::select! {
                    () = &mut stopped => return Ok(Next::End),
                    () = sleep(FIRST_PAUSE) => {}
                }
            } else if self.reopen(error.into(), lines, stopped.as_mut()).await? == Next::End {
                return Ok(Next::End);
            }
        }
        Ok(Next::GoOn)
    }

    /// Writes these heartbeats once. Some may have been written after an error; writing them again does no harm.
    async fn try_write(&mut self, batch: &[Heartbeat]) -> Result<(), TxError> {
        let all: Vec<&Heartbeat> = batch.iter().collect();
        let mut missing = self.write_known(&all).await?;
        // The name may belong to another machine by now.
        let (known, unknown): (Vec<&Heartbeat>, _) = missing
            .into_iter()
            .partition(|h| self.ids.remove(&h.name).is_some());
        missing = unknown;
        missing.extend(self.write_known(&known).await?);
        self.summary.written += count(batch.len() - missing.len());
        self.summary.unknown += count(missing.len());
        for heartbeat in missing {
            self.ids.remove(&heartbeat.name);
            self.report_unknown(heartbeat);
        }
        Ok(())
    }

    /// Writes the heartbeats of machines that exist; returns the others.
    async fn write_known<'h>(
        &mut self,
        all: &[&'h Heartbeat],
    ) -> Result<Vec<&'h Heartbeat>, TxError> {
        self.look_up(all).await?;
        let id_of = |heartbeat: &Heartbeat| match &heartbeat.name {
            Name::Id(id) => Some(*id),
            name => self.ids.get(name).copied(),
        };
        let heartbeats: Vec<AgentHeartbeat> = all
            .iter()
            .filter_map(|heartbeat| Some((id_of(heartbeat)?, heartbeat.at)))
            .collect();
        let unknown: BTreeSet<MachineId> = match heartbeats.is_empty() {
            true => BTreeSet::new(),
            false => self
                .open
                .0
                .heartbeat_agents(&heartbeats)
                .await?
                .into_iter()
                .collect(),
        };
        let is_missing = |h: &&&Heartbeat| id_of(h).is_none_or(|id| unknown.contains(&id));
        Ok(all.iter().filter(is_missing).copied().collect())
    }

    /// Looks up the ids of machines that are named for the first time, in one statement.
    async fn look_up(&mut self, all: &[&Heartbeat]) -> Result<(), TxError> {
        let names: HashSet<(Provider, String)> = all
            .iter()
            .filter(|heartbeat| !self.ids.contains_key(&heartbeat.name))
            .filter_map(|heartbeat| match &heartbeat.name {
                Name::Provided(provider, id) => Some((provider.clone(), id.clone())),
                Name::Id(_) => None,
            })
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        let names: &Vec<(Provider, String)> = &names.into_iter().collect();
        let options = TxOptions::read_committed();
        let found = self
            .open
            .0
            .transact_with(options, async |tx| Ok(provided::find_all(tx, names).await?));
        for (machine, provider, id) in found.await? {
            self.ids.insert(Name::Provided(provider, id), machine);
        }
        Ok(())
    }

    /// Starts a new session, whatever time it takes. Lines that arrive meanwhile are kept, as many as fit.
    async fn reopen(
        &mut self,
        why: Failure,
        lines: &mut Receiver<Line>,
        mut stopped: Stopped<'_>,
    ) -> Result<Next, Failure> {
        self.summary.outages += 1;
        self.report(
            &why.hint("heartbeats are not written meanwhile, and no silence counts; trying again"),
        );
        let began = Instant::now();
        let (mut pause, mut last, mut ends_at) = (FIRST_PAUSE, String::new(), None);
        let (bmdb, provider) = (&self.bmdb.clone(), &self.provider.clone());
        let opened = loop {
            let mut opening = Box::pin(async move {
                sleep(pause).await;
                listen(bmdb, provider.as_ref()).await
            });
            let opened = loop {
                tokio::select! {
                    biased;
                    () = &mut stopped => return Ok(Next::End),
                    opened = &mut opening => break opened,
                    line = lines.recv(), if ends_at.is_none() => match line {
                        Some(line) => self.add(line),
                        None => ends_at = Some(Instant::now() + AFTER_INPUT),
                    },
                    () = until(ends_at) => return Ok(Next::End),
                }
            };
            match opened {
                Ok(opened) => break opened,
                Err(failure) if failure.exit() == Exit::Schema => return Err(failure),
                Err(failure) => {
                    if failure.to_string() != last {
                        self.report(&failure);
                        last = failure.to_string();
                    }
                }
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        self.open = opened;
        let before = self.pending.len();
        self.pending
            .retain(|heartbeat| heartbeat.at.is_some() || heartbeat.arrived.elapsed() < FRESH);
        self.summary.dropped += count(before - self.pending.len());
        let seconds = began.elapsed().as_secs();
        self.context
            .output
            .note(&format!("heartbeats are written again, after {seconds} s"));
        Ok(Next::GoOn)
    }

    fn drop_all(&mut self) {
        self.summary.dropped += count(self.pending.len());
        self.pending.clear();
    }

    /// Reports a machine once, and not with each heartbeat.
    fn report_unknown(&mut self, heartbeat: &Heartbeat) {
        if self.reported.len() < REPORTED && self.reported.insert(heartbeat.name.clone()) {
            let Heartbeat { line, name, .. } = heartbeat;
            let message = format!("line {line}: there is no machine {name}");
            self.report(&Failure::new(Exit::NotFound, message));
        }
    }

    fn report(&self, failure: &Failure) {
        error_line(&self.context.output.render_failure(failure));
    }
}

/// Whether the database may be away, or the session over.
fn is_outage(error: &TxError) -> bool {
    matches!(
        error,
        TxError::SessionExpired | TxError::CommitUnknown { .. }
    ) || error.may_pass()
}

/// A session that listens.
async fn listen(
    bmdb: &Bmdb,
    provider: Option<&Provider>,
) -> Result<(Session, AgentListener), Failure> {
    let session = bmdb.start_session(SessionOptions::default()).await?;
    let listener = session.listen_to_agents(provider).await?;
    Ok((session, listener))
}

async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn count(heartbeats: usize) -> u64 {
    u64::try_from(heartbeats).unwrap_or(u64::MAX)
}
