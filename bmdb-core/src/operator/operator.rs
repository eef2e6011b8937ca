//! `Operator`: who acts by hand, and everything that can be done.

use super::audit::{Author, record, transact};
use super::error::OperatorError;
use super::pause_options::PauseOptions;
use super::processes::{Paused, Resumed, Switch};
use super::sessions::EndedSession;
use super::values::Tag;
use super::{backoffs, machines, processes, sessions, tags};
use crate::bmdb::Bmdb;
#[cfg(feature = "fleet")]
use crate::fleet::{Fleet, Imported};
use crate::session::Session;
use bmdb_model::backoff::LockedBackoff;
use bmdb_model::internal::work::Attempt;
use bmdb_model::operator::Verb;
use bmdb_model::process_control::{Breaker, Limit, Per};
use bmdb_model::tag::TagName;
use bmdb_model::{Fence, MachineId, Process, Provided, Provider, SessionId};

/// Who acts, and why.
///
/// Each action commits with its audit record, or neither does; that also holds if its future is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    author: Author,
}

impl Operator {
    /// An operator, by the name that others know.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let author = Author {
            name: name.into(),
            reason: None,
        };
        Self { author }
    }

    /// The same with a reason. An empty one is refused when it is to be recorded.
    #[must_use]
    pub fn reason(self, reason: impl Into<String>) -> Self {
        let author = Author {
            reason: Some(reason.into()),
            ..self.author
        };
        Self { author }
    }

    /// Creates a machine, under this id or a random one, with its provider if that is known.
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: a unique violation if the id is taken,
    /// [`bmdb_model::Error::ProviderIdTaken`].
    pub async fn create_machine(
        &self,
        session: &Session,
        id: Option<MachineId>,
        provided: Option<&Provided>,
    ) -> Result<MachineId, OperatorError> {
        machines::create(&self.author, session, id, provided).await
    }

    /// Creates all machines of a fleet, or none, with one audit record; returns the created ones.
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::ProviderIdTaken`] or
    /// [`bmdb_model::Error::MachineExists`] for the first machine that already exists.
    #[cfg(feature = "fleet")]
    pub async fn import(
        &self,
        session: &Session,
        fleet: &Fleet,
    ) -> Result<Imported, OperatorError> {
        machines::import(&self.author, session, fleet).await
    }

    /// Creates the machines of a fleet that do not exist yet, with one audit record, and leaves the others
    /// as they are.
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::MachineExists`] if a machine id belongs to
    /// another machine.
    #[cfg(feature = "fleet")]
    pub async fn import_unknown(
        &self,
        session: &Session,
        fleet: &Fleet,
    ) -> Result<Imported, OperatorError> {
        machines::import_unknown(&self.author, session, fleet).await
    }

    /// Puts a machine on hold, or changes the reason of its hold to the operator's: nothing new starts on
    /// it until it is released; claimed work continues. A machine that is on hold for the same reason is left
    /// as it is.
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::NoSuchMachine`], and
    /// [`bmdb_model::Error::Empty`] without a reason.
    pub async fn hold(&self, session: &Session, machine: MachineId) -> Result<(), OperatorError> {
        machines::hold(&self.author, session, machine).await
    }

    /// Releases a machine from its hold; returns whether it was on hold.
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::NoSuchMachine`].
    pub async fn release_hold(
        &self,
        session: &Session,
        machine: MachineId,
    ) -> Result<bool, OperatorError> {
        machines::release_hold(&self.author, session, machine).await
    }

    /// Puts one process on hold on a machine, or changes the reason of that hold to the operator's: it does not
    /// start there until it is released; others do, and claimed work continues. The process need not be
    /// defined. One that is on hold there for the same reason is left as it is.
    ///
    /// # Errors
    /// As [`Operator::hold`].
    pub async fn hold_process(
        &self,
        session: &Session,
        machine: MachineId,
        process: &Process,
    ) -> Result<(), OperatorError> {
        machines::hold_process(&self.author, session, machine, process).await
    }

    /// Releases one process on a machine; returns whether it was on hold there. A hold of the machine as a
    /// whole stays: see [`Operator::release_hold`].
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::NoSuchMachine`].
    pub async fn release_process_hold(
        &self,
        session: &Session,
        machine: MachineId,
        process: &Process,
    ) -> Result<bool, OperatorError> {
        machines::release_process_hold(&self.author, session, machine, process).await
    }

    /// Deletes a machine with its tags and idle work items. Its history stays, with the audit record.
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::MachineHasWork`],
    /// [`bmdb_model::Error::NoSuchMachine`].
    pub async fn delete_machine(
        &self,
        session: &Session,
        machine: MachineId,
    ) -> Result<(), OperatorError> {
        machines::delete(&self.author, session, machine).await
    }

    /// Sets a tag. The audit record contains the length of raw contents, not the contents.
    ///
    /// # Errors
    /// [`OperatorError::Tag`] if the machine has no tag `provided` and is to get one without a provider;
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::NoSuchMachine`],
    /// [`bmdb_model::Error::ProviderIdTaken`].
    pub async fn set_tag(
        &self,
        session: &Session,
        machine: MachineId,
        tag: &Tag,
    ) -> Result<(), OperatorError> {
        tags::set(&self.author, session, machine, tag).await
    }

    /// Removes a tag from a machine, and the agent's heartbeat with its start; returns whether the machine
    /// had the tag.
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::NoSuchMachine`].
    pub async fn unset_tag(
        &self,
        session: &Session,
        machine: MachineId,
        tag: TagName,
    ) -> Result<bool, OperatorError> {
        tags::unset(&self.author, session, machine, tag).await
    }

    /// Deletes a backoff with its counts of failures and losses, as a finish does: the process may be tried
    /// at once, and its next failure restarts the sequence. Returns the deleted backoff.
    ///
    /// # Errors
    /// [`OperatorError::NoBackoff`], [`OperatorError::AtWork`], [`OperatorError::Transaction`].
    pub async fn clear_backoff(
        &self,
        session: &Session,
        machine: MachineId,
        process: &Process,
    ) -> Result<LockedBackoff, OperatorError> {
        backoffs::clear(&self.author, session, machine, process).await
    }

    /// Ends a backoff that is in force: the process may be tried at once, and its next failure continues
    /// the sequence. Returns the backoff as it was.
    ///
    /// # Errors
    /// [`OperatorError::NoBackoff`], [`OperatorError::BackoffPassed`], [`OperatorError::AtWork`],
    /// [`OperatorError::Transaction`].
    pub async fn retry_now(
        &self,
        session: &Session,
        machine: MachineId,
        process: &Process,
    ) -> Result<LockedBackoff, OperatorError> {
        backoffs::retry_now(&self.author, session, machine, process).await
    }

    /// Ends another component's session: its lease ends now, and its work is freed as after any loss. Each
    /// machine rests for a delay in which commands on their way to it have no effect any more.
    ///
    /// After the commit, none of the session's claims, ends and transactions begins any more. Those under
    /// way continue, and must end before anything is freed. The session's program notices at its next
    /// heartbeat, at most a third of its interval later.
    ///
    /// Cancellation: if the session was ended, janitors free the rest of its work.
    ///
    /// # Errors
    /// [`OperatorError::NoSuchSession`], [`OperatorError::SessionEnded`], [`OperatorError::Transaction`].
    pub async fn end_session(
        &self,
        session: &Session,
        id: SessionId,
    ) -> Result<EndedSession, OperatorError> {
        sessions::end(&self.author, session, id).await
    }

    /// Takes work from its holder, if the claim still has this fence: the attempt ends as canceled, and the
    /// machine can be claimed at once.
    ///
    /// The holder's session lives on. The holder notices when it ends the work, which fails as lost, and may
    /// act on the machine until then: put the machine on hold first, or end the session, unless you know
    /// that the holder does not act.
    ///
    /// # Errors
    /// [`OperatorError::NotHeld`], also if the holder's end was faster; [`OperatorError::OtherFence`];
    /// [`OperatorError::Transaction`].
    pub async fn release_work(
        &self,
        session: &Session,
        machine: MachineId,
        process: &Process,
        if_fence: Fence,
    ) -> Result<Attempt, OperatorError> {
        sessions::release_work(&self.author, session, machine, process, if_fence).await
    }

    /// Sets a limit of a process, and replaces the one per the same; returns that one. It is in force at once,
    /// for every program.
    ///
    /// What is claimed keeps its place: while more is claimed than the limit allows, nothing starts until less
    /// is. Starts that have ended before the process had a limit of starts are not counted.
    ///
    /// All claims and ends wait for this for a moment. If other transactions are in the way, it tries again for
    /// half a minute.
    ///
    /// # Errors
    /// [`OperatorError::Blocked`]; [`OperatorError::Transaction`]: [`bmdb_model::Error::InvalidControl`],
    /// [`bmdb_model::Error::NoSuchProcess`].
    pub async fn set_limit(
        &self,
        session: &Session,
        process: &Process,
        limit: &Limit,
    ) -> Result<Option<Limit>, OperatorError> {
        processes::set_limit(&self.author, session, process, limit).await
    }

    /// Removes a limit of a process, and returns it.
    ///
    /// # Errors
    /// [`OperatorError::NoLimit`], and as [`Operator::set_limit`].
    pub async fn remove_limit(
        &self,
        session: &Session,
        process: &Process,
        per: Per,
    ) -> Result<Limit, OperatorError> {
        processes::remove_limit(&self.author, session, process, per).await
    }

    /// Sets a breaker of a process, and replaces the one per the same; returns that one. The next claim counts
    /// by it.
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::InvalidControl`], also for a breaker that counts the
    /// machines that need a process without a workflow; [`bmdb_model::Error::NoSuchProcess`].
    pub async fn set_breaker(
        &self,
        session: &Session,
        process: &Process,
        breaker: &Breaker,
    ) -> Result<Option<Breaker>, OperatorError> {
        processes::set_breaker(&self.author, session, process, breaker).await
    }

    /// Removes a breaker of a process, and returns it. A pause that it has caused stays: resume the process.
    ///
    /// # Errors
    /// [`OperatorError::NoBreaker`], [`OperatorError::Transaction`].
    pub async fn remove_breaker(
        &self,
        session: &Session,
        process: &Process,
        per: Per,
    ) -> Result<Breaker, OperatorError> {
        processes::remove_breaker(&self.author, session, process, per).await
    }

    /// Pauses a process: nothing of it starts, on all machines or on those of a provider. A pause of the same
    /// machines is replaced. Needs a reason; its line breaks become spaces.
    ///
    /// Claims that are under way at this moment may still start. What runs goes on, or with
    /// [`PauseOptions::stop_running`] is asked to stop: a [`Runner`](crate::control_loop::Runner) notices within
    /// a third of its session's interval, cancels [`Machine::stop`](crate::control_loop::Machine::stop), waits
    /// for the grace period, and gives the machine back. Programs that claim without a runner, and those of
    /// earlier versions, do not notice: [`Operator::end_session`] ends them.
    ///
    /// # Errors
    /// [`OperatorError::Transaction`]: [`bmdb_model::Error::InvalidControl`] for a time that has passed or is
    /// too far away and for a provider that no machine has, [`bmdb_model::Error::NoSuchProcess`],
    /// [`bmdb_model::Error::Empty`] without a reason.
    pub async fn pause(
        &self,
        session: &Session,
        process: &Process,
        options: &PauseOptions,
    ) -> Result<Paused, OperatorError> {
        processes::pause(&self.author, session, process, options).await
    }

    /// Resumes a process: ends all its pauses, or those of one provider. Its breaker does not trip again for
    /// the machines that need it now: it is armed again as soon as no more than allowed do. Failures are
    /// counted from the start.
    ///
    /// If the process is one for silent machines, the silence of agents counts from now on where nobody listens
    /// to them, until somebody does. Then the fleet is replanned.
    ///
    /// Cancellation: the process may be resumed, and the fleet not be replanned.
    ///
    /// # Errors
    /// [`OperatorError::NotPaused`] if there is nothing to resume; [`OperatorError::Transaction`].
    pub async fn resume(
        &self,
        session: &Session,
        process: &Process,
        provider: Option<&Provider>,
    ) -> Result<Resumed, OperatorError> {
        processes::resume(&self.author, session, process, provider).await
    }

    /// Says what [`Operator::resume`] would do now, and does nothing.
    ///
    /// # Errors
    /// As [`Operator::resume`].
    pub async fn resume_dry_run(
        &self,
        session: &Session,
        process: &Process,
        provider: Option<&Provider>,
    ) -> Result<Resumed, OperatorError> {
        processes::resume_dry_run(session, process, provider).await
    }

    /// Switches a process off that the fleet does not use: no machine is due for it, and the fleet is replanned;
    /// returns the number of machines. What is claimed goes on. A program that defines the process with a
    /// workflow is refused until [`Operator::switch_on`].
    ///
    /// Cancellation: the process may be off, and the rest of the fleet be replanned by janitors.
    ///
    /// # Errors
    /// [`OperatorError::IsOff`]; [`OperatorError::MayNotDefine`] unless the database user is a member of
    /// `bmdb_owner`; [`OperatorError::Blocked`]; [`OperatorError::Transaction`]:
    /// [`bmdb_model::Error::InvalidControl`] for a process without a workflow.
    pub async fn switch_off(
        &self,
        session: &Session,
        process: &Process,
    ) -> Result<u64, OperatorError> {
        processes::switch(&self.author, session, process, Switch::Off).await
    }

    /// Switches a process on again, as it was, and replans the fleet; returns the number of machines.
    ///
    /// # Errors
    /// [`OperatorError::IsOn`], and as [`Operator::switch_off`].
    pub async fn switch_on(
        &self,
        session: &Session,
        process: &Process,
    ) -> Result<u64, OperatorError> {
        processes::switch(&self.author, session, process, Switch::On).await
    }

    /// Replans every machine, like [`Bmdb::replan_with`]. The audit record is committed first, in a
    /// separate transaction, because the fleet is replanned in many.
    ///
    /// Cancellation: the audit record and the machines that were planned stay.
    ///
    /// # Errors
    /// [`OperatorError::Transaction`].
    pub async fn replan(
        &self,
        session: &Session,
        bmdb: &Bmdb,
        progress: impl FnMut(u64) + Send,
    ) -> Result<u64, OperatorError> {
        transact(session, async |tx| {
            record(tx, &self.author.action(Verb::Replan)).await
        })
        .await?;
        Ok(bmdb.replan_with(progress).await?)
    }
}
