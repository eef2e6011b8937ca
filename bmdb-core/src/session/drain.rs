//! Draining: leaving in order, within a time that is known beforehand.

use crate::bmdb::Bmdb;
use crate::error::TxError;
use crate::session::cleanup::Chore;
use crate::session::close;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

impl Bmdb {
    /// Shuts this component down in order, as at SIGTERM:
    ///
    /// 1. Nothing new is taken on: claims, pollers, [`Session::work`](crate::Session::work) and
    ///    [`Bmdb::start_session`] are refused with [`TxError::Draining`] from here on, for good;
    ///    [`Bmdb::draining`] resolves.
    /// 2. Works, and other operations that are under way, get up to `limit` to end by themselves.
    /// 3. All sessions are closed: what is still held is given back without a verdict, and whoever holds
    ///    it is told by [`Work::lost`](crate::Work::lost).
    /// 4. What runs in the background is done, the tally is told, and connections that nobody uses are closed.
    ///
    /// Comes back at the latest [`Config::connect_timeout`](crate::Config::connect_timeout) after the
    /// limit, whatever the database does. Returns whether everything ended by itself.
    ///
    /// It may be called more than once, also at the same time: each call waits until all is done, and
    /// the earliest limit counts.
    ///
    /// Cancellation: nothing new is taken on all the same. Sessions whose closing has begun are closed in
    /// the background; where the limit had not passed yet, another call closes them.
    ///
    /// # Errors
    /// [`TxError::Unavailable`] when the database did not answer in time. Sessions that could not be
    /// closed expire by themselves, and the janitor of another component frees what they held.
    pub async fn drain(&self, limit: Duration) -> Result<bool, TxError> {
        let component = &self.component;
        component.start_draining();
        let ended = timeout(limit, component.progress.idle()).await.is_ok();
        let closing = component.config.connect_timeout;
        let until = Instant::now() + closing;
        let leases = component.registry.all();
        // In the background, where they are closed whether anybody waits or not.
        for lease in &leases {
            close::give_up(lease, &component.registry);
            component.chores.add(Chore::Close(lease.clone()));
        }
        let idle = timeout_at(until, component.chores.idle()).await;
        component.tell_by(until).await;
        component.pool.close_idle();
        component.chores.close_idle_connection();
        if idle.is_ok() && leases.iter().all(|lease| lease.is_closed()) {
            return Ok(ended);
        }
        let late = format!(
            "not all sessions could be closed within {closing:?}; those that are left expire by \
             themselves"
        );
        Err(TxError::Unavailable(late.into()))
    }

    /// Resolves when [`Bmdb::drain`] has been called: for whoever has more to do than to end its works.
    pub async fn draining(&self) {
        self.component.draining().await;
    }
}
