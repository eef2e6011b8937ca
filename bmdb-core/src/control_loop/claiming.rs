//! Claiming for a control loop: as many machines as there are free slots, as long as a session lasts.

use super::ControlLoop;
use super::attempt::Attempt;
use super::event::Event;
use super::machine::Machine;
use super::runner::{LoopError, Run};
use crate::db::retry::Delays;
use crate::error::TxError;
use crate::session::Session;
use crate::work::Work;
use crate::work::claim::Claim;
use crate::work::poller::Poller;
use std::time::Duration;

/// How many machines without a verdict are kept at once; a loop that cancels more claims no others until
/// some of them are given back.
const MOST_UNDECIDED: usize = 1000;

/// How long to wait with machines that were claimed and could not be read.
const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(5);

/// Why working under a session has come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// There is a shutdown, or nothing left to do.
    ToldToLeave,
    SessionLost,
}

impl<L: ControlLoop> Run<L> {
    pub(super) async fn work_in(&mut self, session: &Session) -> Result<Until, LoopError> {
        match self.refuse_without_workflow(session).await {
            Ok(()) => {}
            // The poller will find out.
            Err(LoopError::Claim(error)) => tracing::debug!(%error, "the process is not looked up"),
            Err(error) => return Err(error),
        }
        let mut poller = self.poller(session);
        let mut delays = Delays::new(FIRST_DELAY, LONGEST_DELAY);
        let draining = self.shutdown.draining().clone();
        loop {
            let free = self.free();
            let once = self.options.once;
            let claimed = async {
                if once {
                    poller.next_due(free).await
                } else {
                    poller.next(free).await
                }
            };
            let claimed = tokio::select! {
                biased;
                () = draining.cancelled() => return Ok(Until::ToldToLeave),
                Some(done) = self.running.join_next() => {
                    self.count(done);
                    continue;
                }
                Some(_) = self.undecided.join_next() => continue,
                claimed = claimed => claimed,
            };
            match claimed {
                Ok(works) if works.is_empty() => return Ok(self.wait_for_the_last().await),
                Ok(works) => match Machine::read_all(session, &works).await {
                    Ok(machines) => {
                        delays.restart();
                        self.begin(works, machines);
                    }
                    Err(TxError::SessionExpired) => return Ok(Until::SessionLost),
                    Err(error) => {
                        session.cancel_all(works).await;
                        if !error.may_pass() {
                            return Err(error.into());
                        }
                        let delay = delays.next();
                        self.control.on_event(&Event::Waiting {
                            error: &error,
                            delay,
                        });
                        if self.meanwhile(tokio::time::sleep(delay)).await.is_none() {
                            return Ok(Until::ToldToLeave);
                        }
                    }
                },
                Err(TxError::SessionExpired) => return Ok(Until::SessionLost),
                Err(TxError::Draining) => return Ok(Until::ToldToLeave),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A loop that would wait for ever says so.
    async fn refuse_without_workflow(&self, session: &Session) -> Result<(), LoopError> {
        let process = self.control.workflow();
        let retry = session.inner.retry(None);
        let definition = self.bmdb.component.definition(&process, &retry);
        match definition.await?.workflow {
            Some(_) => Ok(()),
            None => Err(LoopError::NoWorkflow { process }),
        }
    }

    fn poller(&self, session: &Session) -> Poller {
        let due = Claim::of(&self.control.workflow());
        let providers = self.control.providers();
        let poller = |due: &Claim| session.poller_with(due, self.options.poll);
        let poller = match providers.as_slice() {
            [] => poller(&due),
            [first, further @ ..] => further
                .iter()
                .fold(poller(&due.provider(first)), Poller::and_provider),
        };
        poller.at_pace(self.pace.clone())
    }

    fn free(&self) -> u32 {
        // In one go over the due machines all are kept to its end: what is given back comes again.
        if !self.options.once && self.undecided.len() >= MOST_UNDECIDED {
            return 0;
        }
        let running = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        let free = self.options.parallelism.saturating_sub(running);
        free.min(self.options.batch)
    }

    fn begin(&mut self, works: Vec<Work>, machines: Vec<Machine>) {
        for (work, machine) in works.into_iter().zip(machines) {
            // It is counted already.
            if self.options.once && !self.seen.insert(machine.id) {
                self.keep_a_while(work);
                continue;
            }
            self.summary.claimed += 1;
            let attempt = Attempt {
                control: self.control.clone(),
                options: self.options.clone(),
                hurry: self.hurry.clone(),
                work,
                machine,
            };
            self.running.spawn(attempt.run());
        }
    }

    /// Where each machine is worked on once, those that are running are the last. They may take as long
    /// as they do, for nobody has told the loop to leave.
    async fn wait_for_the_last(&mut self) -> Until {
        let draining = self.shutdown.draining().clone();
        while !self.running.is_empty() {
            tokio::select! {
                biased;
                () = draining.cancelled() => break,
                Some(done) = self.running.join_next() => self.count(done),
            }
        }
        Until::ToldToLeave
    }

    /// Keeps a machine from being claimed again at once, by this loop and by others: it stays held. The
    /// database knows of no rest without a failure, and a loop that passes over a machine at the head of
    /// the queue would have to claim it to get to those behind.
    pub(super) fn keep_a_while(&mut self, work: Work) {
        let give_back = self.give_back.clone();
        // In one go over the due machines none of them comes again.
        let pause = (!self.options.once).then_some(self.options.cancel_pause);
        self.undecided.spawn(async move {
            let pause = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pause => {}
                () = give_back.cancelled() => {}
                () = work.lost() => return,
            }
            if let Err(error) = work.cancel().await {
                tracing::debug!(%error, "a machine is given back in the background");
            }
        });
    }
}
