//! Tidying up after a session that lives: works that were dropped, and claims that nobody knows of.

use crate::db::deadline::Patience;
use crate::db::pool::Pool;
use crate::error::TxError;
use crate::session::claimed_fences::Holdings;
use crate::telemetry::attempt_counts::Tally;
use crate::work::attempt_end::{AttemptEnd, MOST, end_all};
use bmdb_model::ErrorKind;
use bmdb_model::internal::connection::{self, Backend};
use bmdb_model::internal::work::{self, Attempt};
use std::sync::Arc;
use std::time::Duration;

/// How long a search for unknown claims may hold up new ones.
const PATIENCE: Duration = Duration::from_millis(100);

/// How many groups, or works, may fail before others get their turn.
const FAILURES: u32 = 3;

/// What a session has left lying about.
pub(super) struct Tidy {
    holdings: Arc<Holdings>,
    /// Works that nobody has ended, and claims that nobody knew of: each is held, so there are no more of
    /// them than that.
    pub(super) dropped: Vec<Attempt>,
    /// Server processes that may still claim. Those that are known to have ended are not kept, so there
    /// are no more of them than the server has, or than broke since it was last reached.
    pub(super) suspects: Vec<Backend>,
    /// Whether claims that nobody knows of may be there.
    is_suspect: bool,
    /// What failed together is tried one by one: one row that somebody has locked must not keep all.
    one_by_one: bool,
}

impl Tidy {
    pub(super) fn of(holdings: Arc<Holdings>) -> Self {
        Self {
            holdings,
            dropped: Vec::new(),
            suspects: Vec::new(),
            is_suspect: false,
            one_by_one: false,
        }
    }

    pub(super) fn put_before(&mut self, mut left: Self) {
        left.dropped.append(&mut self.dropped);
        left.suspects.append(&mut self.suspects);
        left.is_suspect |= self.is_suspect;
        *self = left;
    }

    /// Whether all of it is done; what is not is left.
    pub(super) async fn try_to(&mut self, pool: &Pool, tally: &Tally, patience: &Patience) -> bool {
        self.is_suspect |= !self.suspects.is_empty();
        let session = self.holdings.lease.session;
        if self.is_suspect {
            match self.sweep(pool, patience).await {
                Ok(swept) => self.is_suspect = !swept,
                Err(error) => tracing::debug!(%session, %error, "unknown claims not found yet"),
            }
        }
        if let Err(error) = self.give_back(pool, tally, patience).await {
            tracing::debug!(%session, %error, "dropped works not given back yet");
        }
        self.dropped.is_empty() && !self.is_suspect
    }

    /// Those that fail are left, behind the others; with the last error.
    async fn give_back(
        &mut self,
        pool: &Pool,
        tally: &Tally,
        patience: &Patience,
    ) -> Result<(), TxError> {
        let most = if self.one_by_one { 1 } else { MOST };
        self.one_by_one = false;
        let (mut failed, mut failures, mut last) = (Vec::new(), 0, Ok(()));
        while !self.dropped.is_empty() && failures < FAILURES {
            let length = self.dropped.len().min(most);
            let group: Vec<Attempt> = self.dropped.drain(..length).collect();
            match cancel(pool, patience, tally, &self.holdings, &group).await {
                Ok(()) => {}
                Err(error) => {
                    let is_away = is_away(&error);
                    failed.extend(group);
                    failures += 1;
                    last = Err(error);
                    if is_away {
                        break;
                    }
                    self.one_by_one = true;
                }
            }
        }
        self.dropped.append(&mut failed);
        last
    }

    /// Whether everything that is held is known now; what was not is given back like works that were
    /// dropped.
    async fn sweep(&mut self, pool: &Pool, patience: &Patience) -> Result<bool, TxError> {
        let mut conn = patience.checkout(pool).await?;
        let mut left = Vec::new();
        for suspect in &self.suspects {
            let gone = patience.answer(connection::terminate(&mut conn, *suspect));
            if !gone.await? {
                left.push(*suspect);
            }
        }
        self.suspects = left;
        if !self.suspects.is_empty() {
            conn.give_back();
            return Ok(false);
        }
        // Claims of this session that are under way have fences that are not known yet. A retrieval may
        // take long, and new claims queue behind this lock, so it is not waited for long.
        let holdings = self.holdings.clone();
        let exclusive = tokio::time::timeout(PATIENCE, holdings.claiming.write()).await;
        let Ok(_no_claims) = exclusive else {
            conn.give_back();
            return Ok(false);
        };
        let session = holdings.lease.session;
        for attempt in patience
            .answer(work::attempts_of(&mut conn, session))
            .await?
        {
            if !holdings.knows(attempt.fence) {
                tracing::info!(machine = %attempt.machine, fence = %attempt.fence, "giving back an unknown claim");
                holdings.remember(attempt.fence);
                self.dropped.push(attempt);
            }
        }
        conn.give_back();
        Ok(true)
    }
}

/// Whether the database cannot be reached, so that nothing else is worth a try.
fn is_away(error: &TxError) -> bool {
    error.is_transient() && error.kind() != Some(ErrorKind::LockTimeout)
}

/// Cancels attempts; those that have ended otherwise in the meantime need no end.
async fn cancel(
    pool: &Pool,
    patience: &Patience,
    tally: &Tally,
    holdings: &Holdings,
    group: &[Attempt],
) -> Result<(), TxError> {
    let mut conn = patience.checkout(pool).await?;
    let ends: Vec<_> = group
        .iter()
        .map(|attempt| (attempt, &AttemptEnd::Canceled))
        .collect();
    let canceled = end_all(&mut conn, tally, holdings.lease.session, &ends);
    match patience.answer(canceled).await.map_err(TxError::from) {
        Ok(_) => {
            conn.give_back();
            for attempt in group {
                holdings.forget(attempt.fence);
            }
            Ok(())
        }
        Err(error) => {
            conn.give_back_after(&error);
            Err(error)
        }
    }
}
