//! Draining: ends all sessions of a component in order, within a known time.

use crate::error::TxError;
use crate::session::cleanup::CleanupTask;
use crate::session::close;
use crate::session::component::Component;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Drains a component; returns whether all operations and attempts ended within the limit.
pub(crate) async fn drain(component: &Component, limit: Duration) -> Result<bool, TxError> {
    component.start_draining();
    component.database.home.check().await?;
    let ended = timeout(limit, component.in_flight.idle()).await.is_ok();
    let closing = component.config.connect_timeout;
    let until = Instant::now() + closing;
    let leases = component.registry.all();
    // In the background, where they are closed even if this future is dropped.
    for lease in &leases {
        close::give_up(lease, &component.registry);
        component.cleanup.add(CleanupTask::Close(lease.clone()));
    }
    let idle = timeout_at(until, component.cleanup.idle()).await;
    component.flush_attempt_counts_by(until).await;
    component.database.close_idle();
    component.cleanup.close_idle_connection();
    if idle.is_ok() && leases.iter().all(|lease| lease.is_closed()) {
        return Ok(ended);
    }
    let late = format!(
        "not all sessions could be closed within {closing:?}; the others expire by themselves"
    );
    Err(TxError::Unavailable(late.into()))
}
