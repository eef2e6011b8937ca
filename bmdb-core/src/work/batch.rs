//! Ending many works at once.

use crate::session::Session;
use crate::work::Work;
use crate::work::end::{EndError, FailureRecorded};
use crate::work::end_batcher::{Awaited, End};
use bmdb_backoff::Backoff;
use bmdb_model::internal::work::Release;
use futures_util::future::join_all;

impl Session {
    /// Ends works as finished without changing any tag: one statement for up to 500 of them. Says
    /// of each, in the given order, whether it ended; they end independently. See
    /// [`Work::complete`].
    ///
    /// Cancellation: a dropped future leaves each work ended, or canceled in the background.
    ///
    /// # Errors
    /// Those of [`Work::complete`], for each work by itself.
    pub async fn finish_all(
        &self,
        works: impl IntoIterator<Item = Work>,
    ) -> Vec<Result<(), EndError>> {
        self.release_all(works, Release::Finished).await
    }

    /// Gives machines back without a verdict: one statement for up to 500 of them. See
    /// [`Work::cancel`] and [`Session::finish_all`].
    ///
    /// # Errors
    /// Those of [`Work::cancel`], for each work by itself.
    pub async fn cancel_all(
        &self,
        works: impl IntoIterator<Item = Work>,
    ) -> Vec<Result<(), EndError>> {
        self.release_all(works, Release::Canceled).await
    }

    /// Ends works as failed, each with a backoff and a cause of its own: one statement for up to 500
    /// of them. See [`Work::fail`] and [`Session::finish_all`].
    ///
    /// # Errors
    /// Those of [`Work::fail`], for each work by itself.
    pub async fn fail_all<'a>(
        &self,
        failures: impl IntoIterator<Item = (Work, &'a Backoff, &'a str)>,
    ) -> Vec<Result<FailureRecorded, EndError>> {
        let mut works = Vec::new();
        let mut intervals = Vec::new();
        for (work, backoff, cause) in failures {
            let (interval, end) = work.failure(backoff, cause);
            works.push((work, end));
            intervals.push(interval);
        }
        let ends = self.begin_all(works).into_iter().zip(intervals).map(
            |((work, end, awaited), interval)| async move {
                let ended = work.end_by_group(end, awaited).await;
                work.conclude_failed(interval, ended)
            },
        );
        join_all(ends).await
    }

    async fn release_all(
        &self,
        works: impl IntoIterator<Item = Work>,
        release: Release,
    ) -> Vec<Result<(), EndError>> {
        let end = End::Released(release);
        let outcome = end.outcome();
        let works = works.into_iter().map(|work| (work, end.clone()));
        let ends = self.begin_all(works.collect());
        join_all(ends.into_iter().map(|(work, end, awaited)| async move {
            let ended = work.end_by_group(end, awaited).await;
            work.conclude_by(outcome, ended.map(drop))
        }))
        .await
    }

    /// Sends the ends of this session's works on their way together. Another session's work, which
    /// this one's statement would not find, ends alone.
    fn begin_all(&self, works: Vec<(Work, End)>) -> Vec<(Work, End, Option<Awaited>)> {
        let own = |work: &Work| work.attempt().session == self.id();
        let ends = works
            .iter()
            .filter(|(work, _)| own(work))
            .map(|(work, end)| (work.attempt().clone(), end.clone()));
        let mut awaited = self.inner.begin_ends(ends).into_iter();
        works
            .into_iter()
            .map(|(work, end)| {
                let awaited = if own(&work) { awaited.next() } else { None };
                (work, end, awaited)
            })
            .collect()
    }
}
