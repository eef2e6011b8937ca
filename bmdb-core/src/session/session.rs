//! A session: a component's lease, inside which everything it does happens.

use crate::db::deadline::Patience;
use crate::db::retry::Retry;
use crate::db::transaction::{self, Opening, Ran, Tx, TxFn, TxOptions};
use crate::error::TxError;
use crate::session::claimed_fences::Holdings;
use crate::session::cleanup::Chore;
use crate::session::close;
use crate::session::component::Component;
use crate::session::lease::{Lease, SessionState};
use crate::telemetry;
use crate::work::end_batcher::EndBatcher;
use crate::work::queue_cursor::Floors;
use bmdb_model::SessionId;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument;

/// A component's lease. It is kept alive in the background; every transaction runs inside it or
/// fails with [`TxError::SessionExpired`].
///
/// Dropping it, once the last of its works and pollers is gone too, closes it in the background as far
/// as that is possible; [`Session::close`] says whether it was.
pub struct Session {
    pub(crate) inner: Arc<SessionInner>,
}

pub(crate) struct SessionInner {
    pub(crate) component: Arc<Component>,
    pub(crate) holdings: Arc<Holdings>,
    pub(crate) end_batcher: Arc<EndBatcher>,
    pub(crate) floors: Floors,
}

impl Drop for SessionInner {
    fn drop(&mut self) {
        let lease = &self.holdings.lease;
        if !lease.is_closed() {
            self.component.chores.add(Chore::Close(lease.clone()));
        }
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.id())
            .field("state", &self.state())
            .finish()
    }
}

impl Session {
    pub(crate) fn new(component: Arc<Component>, lease: Arc<Lease>) -> Self {
        let (pool, counts) = (component.pool.clone(), component.tally.clone());
        let end_batcher = EndBatcher::new(pool, lease.clone(), counts);
        Self {
            inner: Arc::new(SessionInner {
                component,
                holdings: Arc::new(Holdings::new(lease)),
                end_batcher,
                floors: Floors::default(),
            }),
        }
    }

    /// The session's id, never reused.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.inner.lease().session
    }

    /// Whether the lease can be relied on, as far as this program can tell.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.inner.lease().state()
    }

    /// Resolves when the lease is lost: found expired, closed, or unconfirmed for so long that the
    /// database may take it for expired. Needs no answer from the database: at the latest it resolves
    /// the interval less the margin after the last good heartbeat was sent.
    ///
    /// What waits for the database then is given up a moment later, half a second at most.
    pub async fn lost(&self) {
        self.inner.lease().lost().await;
    }

    /// Waits while the session is [`SessionState::Suspect`], which it may be for as long as its lease
    /// lasts; what it is then, live or lost. New work is refused meanwhile, with [`TxError::Suspect`].
    pub async fn wait_while_suspect(&self) -> SessionState {
        self.inner.lease().wait_while_suspect().await
    }

    /// Runs `body` in a SERIALIZABLE transaction inside this session.
    ///
    /// The closure **may run more than once**: when the transaction lost against a concurrent one,
    /// all of it is run again. Write `async |tx| …`, not `async move |tx| …`. Machines whose tags it
    /// wrote are planned before the commit. Two round trips beside the closure's own.
    ///
    /// Rows of tables of one's own are written with Diesel, for which `tx` is a connection:
    ///
    /// ```
    /// # use bmdb_core::{Bmdb, Config, SessionOptions};
    /// use diesel::prelude::*;
    /// use diesel_async::RunQueryDsl;
    ///
    /// diesel::table! {
    ///     rack_units (machine_id) { machine_id -> Uuid, rack -> Text }
    /// }
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let template = bmdb_testkit::Template::new().sql(
    /// #     "CREATE TABLE rack_units (machine_id uuid REFERENCES machines, rack text NOT NULL)");
    /// # let db = template.database().await?;
    /// # let bmdb = Bmdb::connect(Config::new(db.url()).component("racks")).await?;
    /// # let session = bmdb.start_session(SessionOptions::default()).await?;
    /// let in_rack = session.transact(async |tx| {
    ///     let machine = tx.create_machine().await?;
    ///     let unit = (rack_units::machine_id.eq(machine), rack_units::rack.eq("A1"));
    ///     diesel::insert_into(rack_units::table).values(unit).execute(tx).await?;
    ///     let in_rack = rack_units::table.filter(rack_units::rack.eq("A1")).count();
    ///     Ok(in_rack.get_result::<i64>(tx).await?)
    /// });
    /// assert_eq!(in_rack.await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Cancellation: dropping the future rolls back, unless the commit was under way; no lock stays
    /// behind.
    ///
    /// The closure is dropped, and the transaction rolled back, a moment after the session is lost.
    ///
    /// # Errors
    /// [`TxError::SessionExpired`], [`TxError::CommitUnknown`], or what the closure or the database
    /// failed with; but for `CommitUnknown`, nothing was committed. From a database that has fallen
    /// silent: `CommitUnknown` when the commit had been sent, else `SessionExpired`, both as soon as the
    /// session is lost.
    pub async fn transact<T, F>(&self, body: F) -> Result<T, TxError>
    where
        F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<T, TxError>, Fut: Send> + Send + Sync,
        T: Send,
    {
        self.transact_with(TxOptions::default(), body).await
    }

    /// As [`Session::transact`], with another isolation level, read-only, or with another limit for
    /// running again.
    ///
    /// # Errors
    /// As [`Session::transact`].
    pub async fn transact_with<T, F>(&self, options: TxOptions, body: F) -> Result<T, TxError>
    where
        F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<T, TxError>, Fut: Send> + Send + Sync,
        T: Send,
    {
        self.inner.refuse_if_lost()?;
        let mut retry = self.inner.retry(options.retry_for);
        match self.inner.run(options.into(), &mut retry, &body).await? {
            Ran::Committed(value) => Ok(value),
            Ran::CommitUnknown(_, error) => Err(TxError::CommitUnknown(error)),
            Ran::Expired => Err(TxError::SessionExpired),
        }
    }

    /// Ends the session: gives back what it still holds, without a verdict, and removes it. It is lost
    /// from here on, which is how its works are told. Transactions of it that are under way are given up,
    /// unless they end within half a second.
    ///
    /// Comes back, whatever the database does, a moment after the lease would have run out.
    ///
    /// Cancellation: a dropped future leaves the closing to the background.
    ///
    /// # Errors
    /// [`TxError::SessionExpired`] when it had expired already: the janitor frees what it held. After
    /// a database error, closing is tried on in the background until the lease runs out.
    pub async fn close(self) -> Result<(), TxError> {
        let component = &self.inner.component;
        let Component {
            pool,
            registry,
            tally,
            ..
        } = &**component;
        close::close(pool, self.inner.lease(), registry, tally).await?;
        component.tell_if_over().await;
        Ok(())
    }
}

impl SessionInner {
    pub(crate) fn lease(&self) -> &Arc<Lease> {
        &self.holdings.lease
    }

    pub(crate) fn refuse_if_lost(&self) -> Result<(), TxError> {
        match self.lease().state() {
            SessionState::Lost => Err(TxError::SessionExpired),
            SessionState::Live | SessionState::Suspect => Ok(()),
        }
    }

    /// Machines are taken on by a live session only, and by nobody who is about to leave.
    pub(crate) fn refuse_new_work(&self) -> Result<(), TxError> {
        match self.lease().state() {
            SessionState::Lost => Err(TxError::SessionExpired),
            SessionState::Live => self.component.refuse_if_draining(),
            SessionState::Suspect => {
                self.component.refuse_if_draining()?;
                Err(TxError::Suspect)
            }
        }
    }

    /// What an operation of this session is tried by; it is in progress for as long as this is kept.
    pub(crate) fn retry(&self, limit: Option<Duration>) -> Retry {
        let component = &self.component;
        let patience = Patience::of_session(&component.pool, self.lease().clone());
        Retry::new(limit.unwrap_or(component.config.retry_for), patience)
            .in_progress(component.progress.begin())
            .counted_by(&component.meters.retried)
    }

    /// Runs a transaction; an expired session is given up here as well.
    pub(crate) async fn run<T, F>(
        &self,
        opening: Opening,
        retry: &mut Retry,
        body: &F,
    ) -> Result<Ran<T>, TxError>
    where
        F: for<'r, 'c> TxFn<&'r mut Tx<'c>, Result<T, TxError>, Fut: Send> + Sync,
        T: Send,
    {
        let pool = &self.component.pool;
        let id = self.lease().session;
        let run = transaction::run(pool, id, opening, retry, body);
        let run = run.instrument(telemetry::transaction(id));
        let has_failed = |ran: &Result<_, _>| !matches!(ran, Ok(Ran::Committed(_)));
        let ran = self.component.meters.transaction(run, has_failed).await;
        if matches!(ran, Ok(Ran::Expired)) {
            self.lease().lose();
        }
        ran
    }

    /// The database says that the session has expired.
    pub(crate) fn expired(&self) -> TxError {
        self.lease().lose();
        TxError::SessionExpired
    }
}
