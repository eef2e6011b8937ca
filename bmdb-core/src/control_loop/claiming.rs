//! Claiming: fills a loop's free slots with machines for as long as a session lasts.

use super::ControlLoop;
use super::attempt::Attempt;
use super::error::LoopError;
use super::host::{FEW, TRIAL};
use super::machine::Machine;
use super::pause_watch;
use super::run::{Ended, Run};
use crate::error::TxError;
use crate::session::Session;
use crate::session::attempt_end::{AttemptEnd, Cancellation};
use crate::work::Work;
use crate::work::claim::Claim;
use crate::work::end;
use crate::work::poller::Poller;
use bmdb_backoff::Backoff;
use bmdb_model::provided::UnreadableProvided;

/// Why a loop stopped working under a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SessionEnd {
    /// There is a shutdown, or nothing left to do.
    Done,
    Lost,
}

impl<L: ControlLoop> Run<L> {
    pub(super) async fn work_in(&mut self, session: &Session) -> Result<SessionEnd, LoopError> {
        match self.refuse_without_workflow(session).await {
            Ok(()) => {}
            // If the error does not pass, the poller meets it too.
            Err(LoopError::Claim(error)) => tracing::debug!(%error, "the process is not looked up"),
            Err(error) => return Err(error),
        }
        self.watch_pauses(session);
        let mut poller = self.poller(session);
        let draining = self.shutdown.draining().clone();
        loop {
            if let Some(wait) = self.host.wait() {
                if self.options.once && wait.failures >= FEW {
                    return Err(host_fails(&wait.cause));
                }
                if self.wait_for_host(&wait, session).await.is_none() {
                    return Ok(SessionEnd::Done);
                }
            }
            if self.host.is_on_trial() {
                match self.wait_for_trial(session).await {
                    Some(()) => continue,
                    None if self.shutdown.is_requested() => return Ok(SessionEnd::Done),
                    None => return Ok(SessionEnd::Lost),
                }
            }
            let free = self.free_slots();
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
                () = draining.cancelled() => return Ok(SessionEnd::Done),
                Some(()) = self.next_ended() => continue,
                claimed = claimed => claimed,
            };
            let claimed = match claimed {
                Ok(claimed) if claimed.is_empty() => {
                    self.wait_for_running().await;
                    if self.shutdown.is_requested() {
                        return Ok(SessionEnd::Done);
                    }
                    match self.host.doubt() {
                        // The machine that was given back is tried again.
                        Some(_) if self.host.has_to_wait() => continue,
                        Some(cause) => return Err(host_fails(cause)),
                        None => return Ok(SessionEnd::Done),
                    }
                }
                Ok(claimed) => claimed,
                Err(TxError::SessionExpired) => return Ok(SessionEnd::Lost),
                Err(TxError::Draining) => return Ok(SessionEnd::Done),
                Err(error) => return Err(error.into()),
            };
            let again = self.start(session, claimed).await;
            self.give_back(session, again).await;
        }
    }

    /// Without a workflow the loop would wait for ever.
    async fn refuse_without_workflow(&self, session: &Session) -> Result<(), LoopError> {
        let process = self.control.workflow();
        let retry = session.inner.retry(None);
        let definition = self.bmdb.component.definition(&process, &retry);
        match definition.await?.workflow {
            Some(_) => Ok(()),
            None => Err(LoopError::NoWorkflow { process }),
        }
    }

    /// Until the loop ends, or starts its next session.
    fn watch_pauses(&mut self, session: &Session) {
        self.pause_watch.abort_all();
        let (process, tokens) = (self.control.workflow(), self.stop_tokens.clone());
        self.pause_watch
            .spawn(pause_watch::watch(session, process, tokens));
    }

    fn poller(&self, session: &Session) -> Poller {
        let claim = Claim::of(&self.control.workflow()).with_provided();
        let providers = self.control.providers();
        let (first, others) = match providers.split_first() {
            None => (claim, providers.as_slice()),
            Some((first, others)) => (claim.provider(first), others),
        };
        let poller = session.poller_with(&first, self.options.poll);
        let poller = others.iter().fold(poller, Poller::and_provider);
        poller.rate_limited(self.rate_limiter.clone())
    }

    fn free_slots(&self) -> u32 {
        let running = u32::try_from(self.running.len()).unwrap_or(u32::MAX);
        let free = self.options.parallelism.saturating_sub(running);
        let most = match self.host.is_doubtful() {
            true => 1,
            false => self.options.batch,
        };
        free.min(most)
    }

    /// Returns those that have been processed before, with [`once`](super::LoopOptions::once). What cannot be
    /// read backs off by itself: it does not pass by waiting, and concerns no other machine.
    async fn start(&mut self, session: &Session, claimed: Vec<Work>) -> Vec<Work> {
        let (mut again, mut unreadable) = (Vec::new(), Vec::new());
        for work in claimed {
            let machine = match Machine::of(&work) {
                Ok(machine) => machine,
                Err(error) => {
                    unreadable.push((work, error));
                    continue;
                }
            };
            // A machine that was worked on is counted already.
            if self.options.once && !self.seen.insert(machine.id) {
                again.push(work);
                continue;
            }
            self.summary.claimed += 1;
            let cancel_now = self.cancel_now.child_token();
            let attempt = Attempt {
                control: self.control.clone(),
                options: self.options.clone(),
                draining: self.shutdown.draining().clone(),
                _stoppable: self.stop_tokens.add(work.fence(), cancel_now.clone()),
                cancel_now,
                work,
                machine,
            };
            self.host.started();
            let machine = attempt.machine.id;
            self.running.spawn(async move {
                let outcome = attempt.run().await;
                Ended { machine, outcome }
            });
        }
        self.fail_unreadable(session, unreadable).await;
        again
    }

    async fn fail_unreadable(
        &self,
        session: &Session,
        unreadable: Vec<(Work, UnreadableProvided)>,
    ) {
        if unreadable.is_empty() {
            return;
        }
        let backoff = self.control.backoff();
        let mut causes = Vec::new();
        for (work, error) in &unreadable {
            let machine = work.machine();
            tracing::error!(%machine, %error, "a machine cannot be read, and backs off");
            causes.push(format!("the machine cannot be read: {error}"));
        }
        let failed = unreadable.into_iter().map(|(work, _)| work).zip(&causes);
        let failures: Vec<(Work, &Backoff, &str)> = failed
            .map(|(work, cause)| (work, &backoff, cause.as_str()))
            .collect();
        for failed in session.fail_all(failures).await {
            if let Err(error) = failed {
                tracing::debug!(%error, "a machine is released in the background");
            }
        }
    }

    /// Waits until the one attempt that tries a doubtful host has ended, or has run for a while. `None` at a
    /// shutdown, or when the session is lost.
    async fn wait_for_trial(&mut self, session: &Session) -> Option<()> {
        let draining = self.shutdown.draining().clone();
        let trial = tokio::time::sleep(TRIAL);
        tokio::select! {
            biased;
            () = draining.cancelled() => return None,
            () = session.lost() => return None,
            Some(()) = self.next_ended() => {}
            () = trial => self.host.recovered(),
        }
        Some(())
    }

    /// Gives machines back that are due again before the loop has come to its end. They rest for as long as
    /// it has run, so each of them comes back a few times at most, however long the queue is.
    async fn give_back(&self, session: &Session, again: Vec<Work>) {
        if again.is_empty() {
            return;
        }
        let end = AttemptEnd::Canceled(Cancellation {
            rest: Some(self.began.elapsed().max(self.options.cancel_pause)),
            ..session.inner.cancellation()
        });
        let attempts = again.into_iter().map(Work::into_attempt);
        for given_back in end::release_all(&session.inner, attempts, end).await {
            if let Err(error) = given_back {
                tracing::debug!(%error, "a machine is released in the background");
            }
        }
    }

    /// With [`once`](super::LoopOptions::once) and nothing left to claim, waits for the attempts that
    /// run, without a limit, until a shutdown.
    async fn wait_for_running(&mut self) {
        let draining = self.shutdown.draining().clone();
        while !self.running.is_empty() {
            tokio::select! {
                biased;
                () = draining.cancelled() => break,
                Some(()) = self.next_ended() => {}
            }
        }
    }
}

fn host_fails(cause: &str) -> LoopError {
    LoopError::HostFails {
        cause: cause.to_owned(),
    }
}
