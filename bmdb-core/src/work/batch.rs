//! Ending many works at once.

use crate::work::Work;
use crate::work::end::{EndError, FailureRecorded};
use crate::work::end_batcher::{Awaited, End};
use crate::work::inner::SessionInner;
use bmdb_backoff::Backoff;
use bmdb_model::work::Release;
use futures_util::future::join_all;

pub(crate) async fn finish_all(
    session: &SessionInner,
    works: impl IntoIterator<Item = Work>,
) -> Vec<Result<(), EndError>> {
    release_all(session, works, Release::Finished).await
}
pub(crate) async fn cancel_all(
    session: &SessionInner,
    works: impl IntoIterator<Item = Work>,
) -> Vec<Result<(), EndError>> {
    release_all(session, works, Release::Canceled).await
}
pub(crate) async fn fail_all<'a>(
    session: &SessionInner,
    failures: impl IntoIterator<Item = (Work, &'a Backoff, &'a str)>,
) -> Vec<Result<FailureRecorded, EndError>> {
    let mut works = Vec::new();
    let mut intervals = Vec::new();
    for (work, backoff, cause) in failures {
        let (interval, end) = work.failure(backoff, cause);
        works.push((work, end));
        intervals.push(interval);
    }
    let ends = begin_all(session, works).into_iter().zip(intervals).map(
        |((work, end, awaited), interval)| async move {
            let ended = work.end_by_group(end, awaited).await;
            work.conclude_failed(interval, ended)
        },
    );
    join_all(ends).await
}

async fn release_all(
    session: &SessionInner,
    works: impl IntoIterator<Item = Work>,
    release: Release,
) -> Vec<Result<(), EndError>> {
    let end = End::Released(release);
    let outcome = end.outcome();
    let works = works.into_iter().map(|work| (work, end.clone()));
    let ends = begin_all(session, works.collect());
    join_all(ends.into_iter().map(|(work, end, awaited)| async move {
        let ended = work.end_by_group(end, awaited).await;
        work.conclude_by(outcome, ended.map(drop))
    }))
    .await
}
fn begin_all(session: &SessionInner, works: Vec<(Work, End)>) -> Vec<(Work, End, Option<Awaited>)> {
    let own = |work: &Work| work.attempt().session == session.lease().session;
    let ends = works
        .iter()
        .filter(|(work, _)| own(work))
        .map(|(work, end)| (work.attempt().clone(), end.clone()));
    let mut awaited = session.begin_ends(ends).into_iter();
    works
        .into_iter()
        .map(|(work, end)| {
            let awaited = if own(&work) { awaited.next() } else { None };
            (work, end, awaited)
        })
        .collect()
}
