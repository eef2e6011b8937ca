//! Pooled connections: how they are made and checked, and the checkout that closes an unfinished one.

use crate::db::connect::{Target, instrument};
use crate::db::statement_watch::StatementWatch;
use crate::error::{ConnectError, TxError};
use bmdb_model::internal::connection::{ConnectionInfo, plan_once};
use bmdb_model::internal::notify::Notify;
use bmdb_model::internal::plan::KnownDefinitions;
use deadpool::managed::{Manager, Metrics, Object, RecycleError, RecycleResult};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::PoolableConnection;
use futures_util::FutureExt;
use std::ops::{Deref, DerefMut};

/// Makes and checks connections for the pool.
pub(crate) struct Connector(pub(super) Target);

/// A connection and what its server said about itself.
pub(crate) struct PooledConnection {
    conn: AsyncPgConnection,
    info: ConnectionInfo,
    notify: Notify,
    watch: StatementWatch,
    known: KnownDefinitions,
}

impl Manager for Connector {
    type Type = PooledConnection;
    type Error = ConnectError;

    async fn create(&self) -> Result<PooledConnection, ConnectError> {
        // Boxed: every operation's future contains this one, and its type is so deep that types built on
        // it exceed the compiler's limit.
        let (mut conn, info) = self.0.connect().boxed().await?;
        let planned = plan_once(&mut conn).await;
        planned.map_err(|reason| ConnectError::SetUp {
            target: self.0.describe(),
            reason,
        })?;
        let notify = self.0.notify(&info);
        let watch = StatementWatch::default();
        instrument(&mut conn, watch.instrumentation());
        Ok(PooledConnection {
            conn,
            info,
            notify,
            watch,
            known: KnownDefinitions::default(),
        })
    }

    async fn recycle(
        &self,
        pooled: &mut PooledConnection,
        _: &Metrics,
    ) -> RecycleResult<ConnectError> {
        if pooled.conn.is_broken() {
            return Err(RecycleError::message("closed, or in a transaction"));
        }
        Ok(())
    }
}

/// A connection for one operation. Dropping it without [`Checkout::give_back`] closes the connection: a
/// future dropped midway leaves a transaction open, whose locks would otherwise last until the pool next
/// hands out the connection.
pub(crate) struct Checkout(Option<Object<Connector>>);

impl Checkout {
    pub(super) fn new(connection: Object<Connector>) -> Self {
        Self(Some(connection))
    }

    /// Returns the connection to the pool after an operation that left nothing open. A connection that is
    /// still in a transaction, because its rollback was given up, is closed instead; so is one in which a
    /// closure left something behind, such as a setting or a lock, that the next user must not meet.
    pub(crate) fn give_back(mut self) {
        if !self.is_broken() && !self.watch().is_changed() {
            drop(self.0.take());
        }
    }

    /// Returns the connection after an error, unless it is lost or must not be used again. If its fault is
    /// one that the idle connections may share, such as a server that has turned read-only, they are closed
    /// too: the next try gets a new one.
    pub(crate) fn give_back_after(self, error: &TxError) {
        match error.kind() {
            Some(kind) if kind.spoils_connection() => {
                if kind.is_the_connections()
                    && let Some(pool) = Object::pool(self.pooled())
                {
                    pool.retain(|_, _| false);
                }
            }
            _ => self.give_back(),
        }
    }

    /// Returns or closes the connection, as the result of its operation requires.
    pub(crate) fn settle<T>(self, result: Result<T, TxError>) -> Result<T, TxError> {
        match &result {
            Ok(_) => self.give_back(),
            Err(error) => self.give_back_after(error),
        }
        result
    }

    pub(crate) fn info(&self) -> &ConnectionInfo {
        &self.pooled().info
    }

    /// Whether planning on this connection notifies pollers.
    pub(crate) fn notify(&self) -> Notify {
        self.pooled().notify
    }

    /// The definitions that were read on this connection.
    pub(crate) fn known_definitions(&self) -> &KnownDefinitions {
        &self.pooled().known
    }

    /// What closures do on this connection.
    pub(crate) fn watch(&self) -> &StatementWatch {
        &self.pooled().watch
    }

    fn pooled(&self) -> &Object<Connector> {
        // Only `give_back` and `drop` take the object, and both end the checkout.
        self.0
            .as_ref()
            .unwrap_or_else(|| unreachable!("a checkout in use"))
    }
}

impl Deref for Checkout {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.pooled().conn
    }
}

impl DerefMut for Checkout {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self
            .0
            .as_mut()
            .unwrap_or_else(|| unreachable!("a checkout in use"))
            .conn
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}
