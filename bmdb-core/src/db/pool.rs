//! The connection pool, and the checkout that keeps an unfinished connection out of it.

use crate::db::config::Config;
use crate::db::connect::Target;
use crate::error::{ConnectError, TxError};
use bmdb_model::ErrorKind;
use bmdb_model::internal::connection::{ConnectionInfo, plan_once};
use bmdb_model::internal::notify::Notify;
use deadpool::managed::{
    Manager, Metrics, Object, Pool as Deadpool, RecycleError, RecycleResult, Timeouts,
};
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::PoolableConnection;
use futures_util::FutureExt;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

/// Makes and checks connections.
pub(crate) struct Connector(Target);

/// A connection and what it told of itself.
pub(crate) struct Link {
    conn: AsyncPgConnection,
    info: ConnectionInfo,
    notify: Notify,
}

impl Manager for Connector {
    type Type = Link;
    type Error = ConnectError;

    async fn create(&self) -> Result<Link, ConnectError> {
        // Boxed: every operation's future contains this one, whose type is so deep that what is built on
        // top of it meets the compiler's limit.
        let (mut conn, info) = self.0.connect().boxed().await?;
        let planned = plan_once(&mut conn).await;
        planned.map_err(|source| ConnectError::SetUp {
            target: self.0.describe(),
            source,
        })?;
        if !info.messages_are_english {
            tracing::warn!(
                "the server's messages are not English, so deadlocks cannot be told from other \
                 errors and are retried like them; set lc_messages = 'C' for this role"
            );
        }
        let notify = self.0.notify(&info);
        Ok(Link { conn, info, notify })
    }

    async fn recycle(&self, link: &mut Link, _: &Metrics) -> RecycleResult<ConnectError> {
        if link.conn.is_broken() {
            return Err(RecycleError::message("closed, or in a transaction"));
        }
        Ok(())
    }
}

/// How busy a pool is, in connections and operations.
pub(crate) struct Load {
    pub(crate) size: usize,
    pub(crate) in_use: usize,
    pub(crate) waiting: usize,
}

/// A bounded number of connections.
#[derive(Clone)]
pub(crate) struct Pool {
    connections: Deadpool<Connector>,
    statement_timeout: Duration,
}

impl Pool {
    pub(crate) fn new(target: Target, size: usize, config: &Config) -> Self {
        let timeout = Some(config.connect_timeout);
        let timeouts = Timeouts {
            wait: timeout,
            create: Some(target.longest()),
            recycle: timeout,
        };
        let connections = Deadpool::builder(Connector(target))
            .max_size(size)
            .timeouts(timeouts)
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            // The builder fails only where timeouts are set and no runtime is.
            .unwrap_or_else(|error| unreachable!("a pool with a runtime: {error}"));
        Self {
            connections,
            statement_timeout: config.statement_timeout,
        }
    }

    /// How long the server works on a statement.
    pub(crate) fn statement_timeout(&self) -> Duration {
        self.statement_timeout
    }

    /// How busy it is now.
    pub(crate) fn load(&self) -> Load {
        let status = self.connections.status();
        Load {
            size: status.max_size,
            in_use: status.size.saturating_sub(status.available),
            waiting: status.waiting,
        }
    }

    /// Closes the connections that nobody uses; whoever needs one later makes it anew.
    pub(crate) fn close_idle(&self) {
        self.connections.retain(|_, _| false);
    }

    /// A connection for one operation.
    pub(crate) async fn checkout(&self) -> Result<Checkout, TxError> {
        match self.connections.get().await {
            Ok(object) => Ok(Checkout(Some(object))),
            Err(error) => Err(TxError::Unavailable(error.into())),
        }
    }
}

/// A connection for one operation. Dropping it without [`Checkout::give_back`] closes it: a future
/// that is dropped midway leaves a transaction open, whose locks would otherwise last until
/// somebody next takes this connection from the pool.
pub(crate) struct Checkout(Option<Object<Connector>>);

impl Checkout {
    /// The operation has ended and left nothing open. A connection that is in a transaction all the same,
    /// for its rollback was given up, is closed instead.
    pub(crate) fn give_back(mut self) {
        if !self.is_broken() {
            drop(self.0.take());
        }
    }

    /// The operation has ended with an error; unless that says that the connection is gone, it is
    /// good for others.
    pub(crate) fn give_back_after(self, error: &TxError) {
        if error.kind() != Some(ErrorKind::ConnectionLost) {
            self.give_back();
        }
    }

    pub(crate) fn info(&self) -> &ConnectionInfo {
        &self.link().info
    }

    /// Whether planning on it notifies.
    pub(crate) fn notify(&self) -> Notify {
        self.link().notify
    }

    fn link(&self) -> &Object<Connector> {
        // Only `give_back` and `drop` take the object, and both end the checkout.
        self.0
            .as_ref()
            .unwrap_or_else(|| unreachable!("a checkout in use"))
    }
}

impl Deref for Checkout {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.link().conn
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
