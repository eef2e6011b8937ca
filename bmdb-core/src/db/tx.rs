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
use bmdb_model::{MachineId, TagWrites, machine};
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
    /// The definitions to plan by, once something is touched.
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
        let fresh = self.not_touched(machines);
        if !fresh.is_empty() {
            machine::touch(self.conn, &fresh).await?;
            self.touched.extend(fresh);
            self.read_definitions().await?;
        }
        Ok(())
    }

    /// Touches the machines of a list of pairs.
    pub(super) async fn touch_machines_of<T: Sync>(
        &mut self,
        entries: &[(MachineId, T)],
    ) -> Result<(), TxError> {
        let machines: Vec<MachineId> = entries.iter().map(|(machine, _)| *machine).collect();
        self.touch_all(&machines).await
    }

    /// Touches those of the machines that exist and that no other transaction has locked, in one statement;
    /// returns whether that is all of them.
    pub(crate) async fn touch_free(&mut self, machines: &[MachineId]) -> Result<bool, TxError> {
        let fresh = self.not_touched(machines);
        if fresh.is_empty() {
            return Ok(true);
        }
        let touched = internal::machine::touch_free(self, &fresh).await?;
        self.plan_created(touched);
        Ok(self.not_touched(&fresh).is_empty())
    }

    fn not_touched(&self, machines: &[MachineId]) -> Vec<MachineId> {
        let fresh = machines.iter().filter(|id| !self.touched.contains(id));
        fresh.copied().collect()
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
        self.create_machines_as(&[id]).await
    }

    /// Creates machines under given ids, in one statement.
    ///
    /// # Errors
    /// The database's; a unique violation if an id is taken or given twice.
    pub async fn create_machines_as(&mut self, ids: &[MachineId]) -> Result<(), TxError> {
        machine::create(self, ids).await?;
        self.plan_created(ids.iter().copied());
        Ok(())
    }

    /// Deletes a machine with its tags and idle work items. Its history stays.
    ///
    /// # Errors
    /// [`bmdb_model::Error::MachineHasWork`], [`bmdb_model::Error::NoSuchMachine`], the database's.
    pub async fn delete_machine(&mut self, id: MachineId) -> Result<(), TxError> {
        self.delete_machines(&[id]).await
    }

    /// Deletes machines with their tags and idle work items, all or none, in as many statements as one
    /// machine takes.
    ///
    /// # Errors
    /// As [`Tx::delete_machine`], for the first machine that is refused.
    pub async fn delete_machines(&mut self, ids: &[MachineId]) -> Result<(), TxError> {
        match machine::delete_all(self, ids).await {
            Ok(()) => {
                // A deleted machine needs no plan.
                self.touched.retain(|touched| !ids.contains(touched));
                Ok(())
            }
            Err(error) => {
                // Their idle items are gone, and the closure may ignore the error.
                if matches!(error, bmdb_model::Error::MachineHasWork(_)) {
                    self.plan_created(ids.iter().copied());
                }
                Err(error.into())
            }
        }
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

    /// Reads the definitions to plan by, unless this connection knows them. As soon as there is something to plan,
    /// so that the end of the transaction takes one round trip.
    pub(super) async fn read_definitions(&mut self) -> Result<(), TxError> {
        if let Some(version) = self.version
            && self.definitions.is_none()
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
