//! `Tx`: an open transaction of a session, and everything that can be written in it.

use crate::db::pool::Checkout;
use crate::db::statement_watch::StatementWatch;
use crate::error::TxError;
#[cfg(feature = "fleet")]
use crate::fleet::{Fleet, Imported, import};
use crate::lock::lock;
use bmdb_model::internal;
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::plan::{
    self, Definitions, DefinitionsVersion, KnownDefinitions, Unplanned,
};
use bmdb_model::internal::work::{self, Attempt, Finish, Jitter, Rest};
use bmdb_model::os_installation::InstallationResult;
use bmdb_model::tag::{self, TagName};
use bmdb_model::{
    AgentHeartbeat, AgentStarted, MachineId, Provided, TagWrites, agent, hardware, machine,
    os_installation, provided,
};
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, LazyLock, Mutex};

/// An open transaction of a session. It dereferences to the connection, so Diesel's queries and the
/// functions of [`bmdb_model`] accept it.
///
/// Every method that writes a tag touches its machine first. A closure must not set an instrumentation of its own:
/// bmdb's holds the connection, which would end.
pub struct Tx<'c> {
    pub(super) conn: &'c mut AsyncPgConnection,
    /// Notices when the closure ends the transaction.
    watch: StatementWatch,
    /// The machines to be planned before the commit.
    touched: BTreeSet<MachineId>,
    /// The version of the definitions when the transaction began. If they have changed before the plan, the
    /// plan fails, and the transaction is run again.
    version: Option<DefinitionsVersion>,
    known: KnownDefinitions,
    /// The definitions to plan by, once the closure has ended.
    definitions: Option<Arc<Definitions>>,
    notify: Notify,
    /// The finish in this transaction, which is judged by the plan.
    finished: Option<Finished>,
}

/// A finish, and where its caller looks for the rest that it begins.
struct Finished {
    attempt: Attempt,
    jitter: Jitter,
    rest: Arc<Mutex<Option<Rest>>>,
}

impl Finished {
    /// The closure has written what is to be written.
    fn as_finish(&self) -> Finish<'_> {
        Finish {
            attempt: &self.attempt,
            jitter: self.jitter,
            writes: &NO_WRITES,
        }
    }
}

static NO_WRITES: LazyLock<TagWrites> = LazyLock::new(TagWrites::new);

impl Tx<'_> {
    /// Locks a machine and bumps its version, once per transaction. Call it before writing tags by raw
    /// SQL; the methods of `Tx` call it themselves. Touched machines are planned before the commit.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], or the database's.
    pub async fn touch(&mut self, machine: MachineId) -> Result<(), TxError> {
        self.touch_all(&[machine]).await
    }

    /// Touches several machines in one statement, in the lock order that all transactions share.
    ///
    /// # Errors
    /// As [`Tx::touch`].
    pub async fn touch_all(&mut self, machines: &[MachineId]) -> Result<(), TxError> {
        let fresh: Vec<MachineId> = machines
            .iter()
            .copied()
            .filter(|id| !self.touched.contains(id))
            .collect();
        if !fresh.is_empty() {
            machine::touch(self.conn, &fresh).await?;
            self.touched.extend(fresh);
        }
        Ok(())
    }

    /// Touches a machine unless another transaction has locked it or it does not exist; returns whether it
    /// is touched.
    pub(crate) async fn touch_if_free(&mut self, machine: MachineId) -> Result<bool, TxError> {
        if self.touched.contains(&machine) {
            return Ok(true);
        }
        let locked = internal::machine::lock_first_free(self, &[machine]).await?;
        if locked.is_some() {
            self.touch(machine).await?;
        }
        Ok(locked.is_some())
    }

    /// Creates a machine without tags.
    ///
    /// # Errors
    /// The database's.
    pub async fn create_machine(&mut self) -> Result<MachineId, TxError> {
        let id = MachineId::random();
        self.create_machine_as(id).await?;
        Ok(id)
    }

    /// Creates a machine under a given id.
    ///
    /// # Errors
    /// The database's; a unique violation if the id is taken.
    pub async fn create_machine_as(&mut self, id: MachineId) -> Result<(), TxError> {
        machine::create(self, &[id]).await?;
        self.plan_created([id]);
        Ok(())
    }

    /// Deletes a machine with its tags and idle work items. Its history stays.
    ///
    /// # Errors
    /// [`bmdb_model::Error::MachineHasWork`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn delete_machine(&mut self, id: MachineId) -> Result<(), TxError> {
        machine::delete(self, id).await?;
        // A deleted machine needs no plan.
        self.touched.remove(&id);
        Ok(())
    }

    /// Creates all machines of a fleet with their tag `provided`, or none; returns the created ones.
    ///
    /// # Errors
    /// [`bmdb_model::Error::ProviderIdTaken`] or [`bmdb_model::Error::MachineExists`] for the first
    /// machine that already exists; the database's.
    #[cfg(feature = "fleet")]
    pub async fn import_fleet(&mut self, fleet: &Fleet) -> Result<Imported, TxError> {
        let mut imported = Imported::default();
        let result = import::all(self, fleet, &mut imported).await;
        // Also after an error: the closure may ignore it, and commit.
        self.plan_created(imported.created.iter().copied());
        result?;
        Ok(imported)
    }

    /// Creates the machines of a fleet that do not exist yet, with their tag `provided`. A machine exists
    /// if its provider and provider id are in the database; such a machine stays as it is, even if the
    /// file differs.
    ///
    /// # Errors
    /// [`bmdb_model::Error::MachineExists`] if a machine id of the file belongs to another machine; the
    /// database's.
    #[cfg(feature = "fleet")]
    pub async fn import_unknown(&mut self, fleet: &Fleet) -> Result<Imported, TxError> {
        let mut imported = Imported::default();
        let result = import::unknown(self, fleet, &mut imported).await;
        // Also after an error: the closure may ignore it, and commit.
        self.plan_created(imported.created.iter().copied());
        result?;
        Ok(imported)
    }

    /// Sets the tag `provided`: the provider of the machine, and its identity there.
    ///
    /// # Errors
    /// [`bmdb_model::Error::ProviderIdTaken`], [`bmdb_model::Error::NulByte`],
    /// [`bmdb_model::Error::TooLong`], [`bmdb_model::Error::Empty`], [`bmdb_model::Error::NoSuchMachine`], the
    /// database's.
    pub async fn set_provided(
        &mut self,
        machine: MachineId,
        provided: &Provided,
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(provided::set(self, machine, provided).await?)
    }

    /// Records that the agent was started. Deletes heartbeats from before the start: an earlier agent sent
    /// them.
    ///
    /// # Errors
    /// [`bmdb_model::Error::TooLong`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_agent_started(
        &mut self,
        machine: MachineId,
        started: &AgentStarted,
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(agent::set_started(self, machine, started).await?)
    }

    /// Records that the agent is gone, for example before a reinstallation: deletes its start and
    /// heartbeat.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn unset_agent(&mut self, machine: MachineId) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(agent::unset(self, machine).await?)
    }

    /// Removes one of bmdb's own tags from a machine, and the agent's heartbeat with its start; returns
    /// whether the machine had it. A hold is not such a tag: see [`Tx::release_hold`].
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn unset_tag(&mut self, machine: MachineId, tag: TagName) -> Result<bool, TxError> {
        self.touch(machine).await?;
        Ok(tag::unset(self, machine, tag).await?)
    }

    /// Records a heartbeat of the agent, now or at a given time.
    ///
    /// Only a first heartbeat, and one that moves the time back, are planned: they make the machine due
    /// for recovery earlier. Every other heartbeat is one statement that touches nothing else.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_agent_heartbeat(
        &mut self,
        machine: MachineId,
        at: Option<DateTime<Utc>>,
    ) -> Result<(), TxError> {
        if agent::advance_heartbeat(self, machine, at).await? {
            return Ok(());
        }
        self.touch(machine).await?;
        Ok(agent::set_heartbeat(self, machine, at).await?)
    }

    /// Records heartbeats of many agents, like [`Tx::set_agent_heartbeat`] for each; if a machine is named
    /// twice, the latest heartbeat counts. One statement, unless some have to be planned.
    ///
    /// # Errors
    /// [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_agent_heartbeats(
        &mut self,
        heartbeats: &[AgentHeartbeat],
    ) -> Result<(), TxError> {
        // Never `None`: without a session, none can have expired.
        let rest = internal::agent::advance_heartbeats(self, None, heartbeats).await?;
        let rest = heartbeats_of(heartbeats, &rest.unwrap_or_default());
        if rest.is_empty() {
            return Ok(());
        }
        let machines: Vec<MachineId> = rest.iter().map(|(machine, _)| *machine).collect();
        self.touch_all(&machines).await?;
        Ok(internal::agent::set_heartbeats(self, &rest).await?)
    }

    /// Stores the agent's report of the machine's hardware.
    ///
    /// # Errors
    /// [`bmdb_model::Error::TooLong`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_hardware_report(
        &mut self,
        machine: MachineId,
        raw: &[u8],
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(hardware::set(self, machine, raw).await?)
    }

    /// Requests the installation of an operating system; a new generation replaces the one before.
    ///
    /// # Errors
    /// [`bmdb_model::Error::TooLong`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_os_installation_request(
        &mut self,
        machine: MachineId,
        generation: i64,
        raw: &[u8],
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(os_installation::set_request(self, machine, generation, raw).await?)
    }

    /// Reports the result of installing a generation.
    ///
    /// # Errors
    /// [`bmdb_model::Error::TooLong`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn set_os_installation_report(
        &mut self,
        machine: MachineId,
        generation: i64,
        result: InstallationResult,
        raw: &[u8],
    ) -> Result<(), TxError> {
        self.touch(machine).await?;
        Ok(os_installation::set_report(self, machine, generation, result, raw).await?)
    }
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c mut Checkout) -> Self {
        Self {
            notify: conn.notify(),
            watch: conn.watch().clone(),
            known: conn.known_definitions().clone(),
            conn,
            touched: BTreeSet::new(),
            version: None,
            definitions: None,
            finished: None,
        }
    }

    /// Notes the version of the definitions, and which machine was touched, by the statements that began the
    /// transaction.
    pub(super) fn begun(&mut self, version: DefinitionsVersion, touched: Option<MachineId>) {
        self.version = Some(version);
        self.touched.extend(touched);
    }

    /// Plans machines that this transaction locked or created.
    pub(crate) fn plan_created(&mut self, machines: impl IntoIterator<Item = MachineId>) {
        self.touched.extend(machines);
    }

    /// What a caller's closure does in this transaction.
    pub(crate) fn watch(&self) -> StatementWatch {
        self.watch.clone()
    }

    /// Whether planning notifies pollers here.
    pub(crate) const fn notify(&self) -> Notify {
        self.notify
    }

    /// Reads the definitions to plan by, unless this connection knows them.
    pub(super) async fn read_definitions(&mut self) -> Result<(), TxError> {
        if let Some(version) = self.version
            && !self.touched.is_empty()
        {
            self.definitions = Some(self.known.of(self.conn, version).await?);
        }
        Ok(())
    }

    /// Notes that this transaction finishes an attempt: by the plan at its end, the machine rests if it is
    /// still due. The rest is in `rest` once that is committed.
    pub(crate) fn judge(
        &mut self,
        attempt: Attempt,
        jitter: Jitter,
        rest: Arc<Mutex<Option<Rest>>>,
    ) {
        *lock(&rest) = None;
        self.finished = Some(Finished {
            attempt,
            jitter,
            rest,
        });
    }

    /// Plans the touched machines without the workflows that fail, for a commit of its own; returns what was
    /// not planned. Boxed: it is rare, and every transaction's future would contain it.
    pub(super) fn plan_carefully(
        &mut self,
    ) -> BoxFuture<'_, Result<Vec<Unplanned>, bmdb_model::Error>> {
        let touched = self.touched();
        let plan = async move {
            let Some(definitions) = &self.definitions else {
                return Ok(Vec::new());
            };
            plan::replan_carefully(self.conn, &touched, definitions, self.notify).await
        };
        plan.boxed()
    }

    /// The machines to be planned, in id order.
    pub(super) fn touched(&self) -> Vec<MachineId> {
        self.touched.iter().copied().collect()
    }

    /// Whether there is anything to plan.
    pub(super) fn has_touched(&self) -> bool {
        !self.touched.is_empty()
    }

    /// Plans the touched machines, judges a finish and commits. If there is nothing to plan, checks that no
    /// failed statement has aborted the transaction: the closure may have ignored its error.
    pub(super) async fn plan_and_commit(mut self) -> Result<(), bmdb_model::Error> {
        let definitions = self.definitions.take();
        match definitions {
            Some(definitions) if !self.touched.is_empty() => {
                let touched: Vec<MachineId> = self.touched.into_iter().collect();
                let (conn, notify) = (self.conn, self.notify);
                let Some(finished) = self.finished else {
                    return plan::replan_and_commit(conn, &touched, &definitions, notify).await;
                };
                let finish = finished.as_finish();
                let committed =
                    work::replan_judge_and_commit(conn, &touched, &definitions, notify, finish);
                *lock(&finished.rest) = committed.await?;
                Ok(())
            }
            _ => self.commit_planned().await,
        }
    }

    /// Judges a finish and commits, after [`Tx::plan_carefully`] or if there was nothing to plan.
    pub(super) async fn commit_planned(self) -> Result<(), bmdb_model::Error> {
        let Some(finished) = self.finished else {
            return internal::connection::check_not_aborted_and_commit(self.conn).await;
        };
        let committed = work::judge_and_commit(self.conn, finished.as_finish());
        *lock(&finished.rest) = committed.await?;
        Ok(())
    }
}

impl Deref for Tx<'_> {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        self.conn
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        self.conn
    }
}

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx")
            .field("touched", &self.touched)
            .finish_non_exhaustive()
    }
}

/// The heartbeats of these machines. `machines` must be in id order.
pub(crate) fn heartbeats_of(
    heartbeats: &[AgentHeartbeat],
    machines: &[MachineId],
) -> Vec<AgentHeartbeat> {
    heartbeats
        .iter()
        .filter(|(machine, _)| machines.binary_search(machine).is_ok())
        .copied()
        .collect()
}
