//! `Session`: a component's lease, and everything that can be done inside it.

use crate::db::transaction::TxOptions;
use crate::db::tx_fn::TxBody;
use crate::error::{TxError, WorkError};
use crate::session::attempt_end::AttemptEnd;
use crate::session::component::Component;
use crate::session::lease::{Lease, SessionState};
use crate::session::listening::AgentListener;
use crate::session::{agents, close, listening};
use crate::work::claim::{Claim, Scan};
use crate::work::end_error::{EndError, FailureRecorded};
use crate::work::inner::SessionInner;
use crate::work::poll_options::PollOptions;
use crate::work::poller::Poller;
use crate::work::{Work, claim_one, end};
use bmdb_backoff::Backoff;
use bmdb_model::{AgentHeartbeat, MachineId, Process, Provider, SessionId, TagWrites};
use std::sync::Arc;

/// A component's lease. It is kept alive in the background; every transaction runs inside it or fails
/// with [`TxError::SessionExpired`].
///
/// If the session is dropped, and its last `Work` and poller too, it is closed in the background as
/// far as possible; [`Session::close`] reports whether it was.
pub struct Session {
    pub(crate) inner: Arc<SessionInner>,
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
        Self {
            inner: Arc::new(SessionInner::new(component, lease)),
        }
    }

    /// The session's id, which is never reused.
    #[must_use]
    pub fn id(&self) -> SessionId {
        self.inner.lease().session
    }

    /// Whether the lease can be relied on, as far as this program knows.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.inner.lease().state()
    }

    /// Resolves when the lease is lost: found expired, closed, or unconfirmed for so long that the database
    /// may consider it expired. Needs no answer from the database: it resolves at the latest the interval
    /// less the margin after the last successful heartbeat was sent.
    ///
    /// Time counts also while the process is stopped or the computer is suspended. Each poll looks at the
    /// clock, so the first one afterwards sees the loss: ask this first, in a `select!` that is `biased`. A task
    /// that nothing else wakes sees it a quarter of a second later. On systems other than Linux, Android and
    /// those of Apple, the time of a suspended computer does not count.
    ///
    /// Operations that wait for the database are given up at most half a second later.
    pub async fn lost(&self) {
        self.inner.lease().lost().await;
    }

    /// Waits while the session is [`SessionState::Suspect`], at most until its lease runs out; returns the
    /// state after that, live or lost. A suspect session refuses new work with [`TxError::Suspect`].
    pub async fn wait_while_suspect(&self) -> SessionState {
        self.inner.lease().wait_while_suspect().await
    }

    /// Claims machines that are due, longest due first, in one statement.
    ///
    /// For a time-driven process, such as `ShepherdRecovery`, heartbeats are not planned, so some machines
    /// only seem due. The claim replans those in transactions of up to 1,000 machines, ten of them at most;
    /// the next call continues with the rest of a long queue. If nothing seems due, the claim is one
    /// statement that writes nothing.
    ///
    /// An empty result does not prove that nothing is due, because machines that others are just claiming
    /// are skipped: ask again later, or let a [`Poller`] do it. A session that claims more than a few times
    /// a second does not always look for machines that became due before those it claimed last; it does so
    /// after two seconds at the latest.
    ///
    /// Cancellation: machines that a dropped future may have claimed are released in the background.
    ///
    /// # Errors
    /// [`TxError::SessionExpired`], also from a hung database as soon as the session is lost;
    /// [`TxError::Suspect`]; [`TxError::Draining`]; [`TxError::CommitUnknown`] for a time-driven process;
    /// database errors. Nothing stays claimed after any of them.
    pub async fn claim(&self, claim: &Claim) -> Result<Vec<Work>, TxError> {
        let claimed = self.inner.claim(claim, Scan::FromCursor).await?;
        Ok(claimed.machines)
    }

    /// Runs `retrieve` and claims the first machine of its result that can be claimed: the machine is not
    /// on hold, no process of the same lane is at work there, and no backoff of this process is in force
    /// there.
    ///
    /// The retrieval runs **at least twice**, in a READ COMMITTED transaction: its first result is stale by
    /// the time the machine is locked, so a machine is claimed only if the retrieval returns it again under
    /// the lock. For processes with a workflow, [`Session::claim`] does the same for many machines at once,
    /// usually in one statement.
    ///
    /// Cancellation: a machine that a dropped future may have claimed is released in the background.
    ///
    /// # Errors
    /// [`WorkError::NothingToDo`] if the retrieval returns nothing. If no candidate can be claimed, the
    /// first one's reason: [`WorkError::Conflict`], [`WorkError::BackedOff`], [`WorkError::OnHold`],
    /// [`WorkError::ProcessOnHold`], [`WorkError::Paused`] or [`WorkError::Limited`]. Otherwise [`WorkError::SessionExpired`], also from a hung database as soon as the session is lost;
    /// [`WorkError::Suspect`]; database errors.
    #[doc(alias = "claim_one")]
    pub async fn work<F>(&self, process: &Process, retrieve: F) -> Result<Work, WorkError>
    where
        F: TxBody<Vec<MachineId>>,
    {
        claim_one::claim_one(&self.inner, process, &retrieve).await
    }

    /// A poller with default options: see [`Poller::next`].
    #[must_use]
    pub fn poller(&self, claim: &Claim) -> Poller {
        self.poller_with(claim, PollOptions::default())
    }

    /// A poller for what `claim` would claim; the claim's limit does not apply.
    #[must_use]
    pub fn poller_with(&self, claim: &Claim, options: PollOptions) -> Poller {
        Poller::new(self.inner.clone(), claim, options)
    }

    /// Ends attempts as finished, each with what is written about its machine, up to 500 of them in one
    /// transaction: one statement for each kind of tag. Returns the result for each, in the given order; they end
    /// independently. See [`Work::complete_with`].
    ///
    /// ```
    /// # use bmdb_core::{Session, Work};
    /// use bmdb_model::{AgentStarted, TagWrites};
    ///
    /// # async fn example(session: &Session, started: Vec<(Work, Vec<u8>)>) {
    /// let finishes = started.into_iter().map(|(work, key)| {
    ///     (work, TagWrites::new().agent_started(AgentStarted::now(key)))
    /// });
    /// for finished in session.finish_all(finishes).await {
    ///     if let Err(error) = finished {
    ///         eprintln!("{error}");
    ///     }
    /// }
    /// # }
    /// ```
    ///
    /// Cancellation: if the future is dropped, each attempt has ended or is canceled in the background.
    ///
    /// # Errors
    /// Those of [`Work::complete_with`], for each attempt by itself.
    pub async fn finish_all(
        &self,
        finishes: impl IntoIterator<Item = (Work, TagWrites)>,
    ) -> Vec<Result<(), EndError>> {
        let finishes = finishes
            .into_iter()
            .map(|(work, writes)| (work.into_attempt(), writes));
        end::finish_all(&self.inner, finishes).await
    }

    /// Gives machines back without an outcome, up to 500 of them in one statement. See [`Work::cancel`] and
    /// [`Session::finish_all`].
    ///
    /// # Errors
    /// Those of [`Work::cancel`], for each attempt by itself.
    pub async fn cancel_all(
        &self,
        claimed: impl IntoIterator<Item = Work>,
    ) -> Vec<Result<(), EndError>> {
        let attempts = claimed.into_iter().map(Work::into_attempt);
        let end = AttemptEnd::Canceled(self.inner.cancellation());
        end::release_all(&self.inner, attempts, end).await
    }

    /// Ends attempts as failed, each with its own backoff and cause, up to 500 of them in one statement.
    /// See [`Work::fail`] and [`Session::finish_all`].
    ///
    /// # Errors
    /// Those of [`Work::fail`], for each attempt by itself.
    pub async fn fail_all<'a>(
        &self,
        failures: impl IntoIterator<Item = (Work, &'a Backoff, &'a str)>,
    ) -> Vec<Result<FailureRecorded, EndError>> {
        let failures = failures
            .into_iter()
            .map(|(work, backoff, cause)| (work.into_attempt(), backoff, cause));
        end::fail_all(&self.inner, failures).await
    }

    /// Runs `body` in a SERIALIZABLE transaction inside this session.
    ///
    /// The closure **may run more than once**: a transaction that lost against a concurrent one is run
    /// again as a whole. Write `async |tx| …`, not `async move |tx| …`. Machines whose tags it wrote are
    /// planned before the commit. It takes two round trips besides the closure's own.
    ///
    /// Use Diesel for tables of your own; `tx` is a connection:
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
    /// The transaction is bmdb's: a closure that ends it by SQL, such as `COMMIT`, fails with
    /// [`TxError::ClosureEndedTransaction`]. For a part that may fail, use a savepoint: `tx.transaction(…)`.
    /// Settings, roles, session-level locks, temporary tables, prepared statements and the like end with the
    /// transaction, because the connection is closed then; `SET LOCAL` and `pg_advisory_xact_lock` cost no
    /// connection. What a function of your own changes inside is not noticed: let it use `set_config(…, true)`.
    /// Do not begin another operation of the component inside: with few connections, both would wait.
    ///
    /// Cancellation: dropping the future rolls back, unless the commit was under way; no lock stays behind.
    ///
    /// When the session is lost, the closure is dropped and the transaction rolled back half a second later
    /// at most.
    ///
    /// # Errors
    /// [`TxError::SessionExpired`], [`TxError::CommitUnknown`], or the closure's or the database's error;
    /// nothing was committed, except possibly with `CommitUnknown` and `ClosureEndedTransaction`. From a hung database, as soon as the
    /// session is lost: `CommitUnknown` if the commit had been sent, else `SessionExpired`.
    pub async fn transact<T: Send, F: TxBody<T>>(&self, body: F) -> Result<T, TxError> {
        self.transact_with(TxOptions::default(), body).await
    }

    /// Like [`Session::transact`], with another isolation level, read-only, or with another retry limit.
    ///
    /// # Errors
    /// As [`Session::transact`].
    pub async fn transact_with<T: Send, F: TxBody<T>>(
        &self,
        options: TxOptions,
        body: F,
    ) -> Result<T, TxError> {
        self.inner.refuse_if_lost()?;
        let mut retry = self.inner.retry(options.retry_for);
        let ran = self.inner.run(options.into(), &mut retry, &body).await?;
        ran.committed()
    }

    /// Records heartbeats of the agents of many machines, now or at given times; returns the machines that
    /// do not exist, in id order. If a machine is named twice, the latest heartbeat counts.
    ///
    /// One statement that includes the fence check, in one round trip: a thousand machines at once is a
    /// good number. First heartbeats, and those that move the time back, are planned in a transaction that
    /// follows, because they make machines due for recovery earlier.
    ///
    /// Cancellation: heartbeats that were written stay; each is written or not.
    ///
    /// # Errors
    /// [`TxError::SessionExpired`], [`TxError::CommitUnknown`], database errors. Some heartbeats may have
    /// been written; sending them again does no harm.
    pub async fn heartbeat_agents(
        &self,
        heartbeats: &[AgentHeartbeat],
    ) -> Result<Vec<MachineId>, TxError> {
        agents::heartbeat(&self.inner, heartbeats).await
    }

    /// Says that this program listens to the agents of a provider, or of all providers, until the returned
    /// handle is dropped or the session ends: an agent that sends nothing is silent.
    ///
    /// Silence counts only while somebody listens. Without this, that is observed by the heartbeats themselves:
    /// nobody listens while the newest one of a provider is older than 90 seconds. So a program that receives
    /// heartbeats says so before it receives any, stays connected while it can, and writes what it receives
    /// ([`Session::heartbeat_agents`]). Its own silence is then ours: after it was gone for 90 seconds, all
    /// machines have their ten minutes again. A session whose lease is longer than four minutes sends heartbeats
    /// too seldom to prove anything.
    ///
    /// Cancellation: if the future is dropped, listening ends in the background.
    ///
    /// # Errors
    /// [`TxError::SessionExpired`], [`TxError::CommitUnknown`], database errors; nobody listens after any of
    /// them.
    pub async fn listen_to_agents(
        &self,
        provider: Option<&Provider>,
    ) -> Result<AgentListener, TxError> {
        listening::listen(&self.inner, provider).await
    }

    /// Ends the session: cancels its claimed work, and removes the session. The session is lost at once, so
    /// `lost()` of its work resolves. Its transactions that are under way are given up unless they end
    /// within half a second.
    ///
    /// Returns at the latest half a second after the lease would have run out, even if the database hangs.
    ///
    /// Cancellation: if the future is dropped, the session is closed in the background.
    ///
    /// # Errors
    /// [`TxError::SessionExpired`] if it had expired already; the janitor frees its work. After a database
    /// error, closing is retried in the background until the lease runs out.
    pub async fn close(self) -> Result<(), TxError> {
        let component = &self.inner.component;
        let Component {
            database,
            registry,
            attempt_counts,
            ..
        } = &**component;
        let history = component.config.history;
        close::close(
            database,
            self.inner.lease(),
            registry,
            attempt_counts,
            history,
        )
        .await?;
        component.flush_if_last_session().await;
        Ok(())
    }
}
