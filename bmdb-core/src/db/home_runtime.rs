//! Home runtime: the tokio runtime in which a handle was made, where its background tasks run.
//!
//! A runtime that ends takes the tasks and the connections with it. Without this, later calls in another runtime
//! would wait for answers that nobody reads, or fail with "connection closed".

use crate::error::{ConnectError, TxError};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// How long a runtime with one thread, which may be busy, may take to run an empty task.
const PING_LIMIT: Duration = Duration::from_secs(2);

/// The runtime in which a handle was made. Clones share it.
#[derive(Clone)]
pub(crate) struct HomeRuntime(Arc<Shared>);

struct Shared {
    handle: Handle,
    ended: CancellationToken,
    /// Never ends by itself. The runtime drops it when it ends.
    sentinel: AbortHandle,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.sentinel.abort();
    }
}

impl HomeRuntime {
    /// The runtime of the caller.
    pub(crate) fn current() -> Result<Self, ConnectError> {
        let handle = Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        let ended = CancellationToken::new();
        let guard = ended.clone().drop_guard();
        let sentinel = handle.spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        Ok(Self(Arc::new(Shared {
            handle,
            ended,
            sentinel: sentinel.abort_handle(),
        })))
    }

    /// Resolves when the runtime has ended.
    pub(crate) async fn ended(&self) {
        self.0.ended.cancelled().await;
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.0.handle
    }

    /// Fails in a program whose runtime has ended, and outside of any runtime.
    pub(crate) fn refuse_if_ended(&self) -> Result<(), TxError> {
        if self.0.ended.is_cancelled() {
            return Err(TxError::RuntimeEnded);
        }
        match Handle::try_current() {
            Ok(_) => Ok(()),
            Err(_) => Err(TxError::NoRuntime),
        }
    }

    /// Fails also if the runtime has one thread, and that does not run: `block_on` has returned, or blocks.
    pub(crate) async fn check(&self) -> Result<(), TxError> {
        self.refuse_if_ended()?;
        let handle = &self.0.handle;
        let is_at_home = Handle::current().id() == handle.id();
        if is_at_home || handle.runtime_flavor() != RuntimeFlavor::CurrentThread {
            return Ok(());
        }
        self.ping().await
    }

    /// Boxed: it is rare, and every operation's future would contain it.
    fn ping(&self) -> BoxFuture<'_, Result<(), TxError>> {
        let ping = tokio::time::timeout(PING_LIMIT, self.0.handle.spawn(async {}));
        let answer = |pinged: Result<_, _>| {
            match pinged {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(TxError::RuntimeEnded),
            Err(_) => Err(TxError::Unavailable(
                "the runtime in which this handle was made does not run: its thread is blocked, or its \
                 block_on has returned; make a handle in each runtime"
                    .into(),
            )),
        }
        };
        ping.map(answer).boxed()
    }
}
