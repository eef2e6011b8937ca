//! Progress: what the handlers of a contender have done, and when.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What has happened to the jobs. All handlers share it.
#[derive(Debug)]
pub(crate) struct Progress {
    jobs: u32,
    succeeded: AtomicU32,
    all_succeeded: Notify,
    /// For each job whether it has failed; empty if none is to fail.
    failed: Vec<AtomicBool>,
    began: Instant,
    /// In microseconds since `began`, as the next fields; 0 before the first.
    first_start: AtomicU64,
    last_start: AtomicU64,
    longest_pause: AtomicU64,
}

impl Progress {
    pub(crate) fn new(jobs: u32, fail_once: bool) -> Self {
        let failing = if fail_once { jobs } else { 0 };
        Self {
            jobs,
            succeeded: AtomicU32::new(0),
            all_succeeded: Notify::new(),
            failed: (0..failing).map(|_| AtomicBool::new(false)).collect(),
            began: Instant::now(),
            first_start: AtomicU64::new(0),
            last_start: AtomicU64::new(0),
            longest_pause: AtomicU64::new(0),
        }
    }

    /// A handler starts.
    pub(crate) fn start(&self) {
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        let before = self.last_start.fetch_max(now, Ordering::Relaxed);
        if before == 0 {
            self.first_start.store(now, Ordering::Relaxed);
        } else {
            let pause = now.saturating_sub(before);
            self.longest_pause.fetch_max(pause, Ordering::Relaxed);
        }
    }

    /// Whether each job fails once.
    pub(crate) fn fails_once(&self) -> bool {
        !self.failed.is_empty()
    }

    /// Whether this attempt of a job has to fail. Jobs are numbered from 0.
    pub(crate) fn must_fail(&self, job: u32) -> bool {
        let failed = usize::try_from(job)
            .ok()
            .and_then(|job| self.failed.get(job));
        failed.is_some_and(|failed| !failed.swap(true, Ordering::Relaxed))
    }

    /// The handlers of this many jobs have succeeded.
    pub(crate) fn succeed(&self, jobs: u32) {
        let before = self.succeeded.fetch_add(jobs, Ordering::Relaxed);
        if before + jobs >= self.jobs {
            self.all_succeeded.notify_one();
        }
    }

    /// Waits until as many handlers have succeeded as there are jobs.
    pub(crate) async fn all_succeeded(&self) {
        self.all_succeeded.notified().await;
    }

    pub(crate) fn since_the_first_start(&self) -> Duration {
        let first = Duration::from_micros(self.first_start.load(Ordering::Relaxed));
        self.began.elapsed().saturating_sub(first)
    }

    /// The longest time in which no handler started. If each job fails once, that is the time in which all
    /// of them wait for their second attempt, or nothing to speak of if there is no such time.
    pub(crate) fn longest_pause(&self) -> Duration {
        Duration::from_micros(self.longest_pause.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;

    #[test]
    fn a_job_fails_once_if_it_has_to() {
        let progress = Progress::new(2, true);
        assert_eq!(
            [1, 1, 0, 0].map(|job| progress.must_fail(job)),
            [true, false, true, false]
        );
        assert!(!Progress::new(2, false).must_fail(0));
    }

    #[tokio::test]
    async fn the_last_success_is_the_end() {
        let progress = Progress::new(3, false);
        progress.succeed(2);
        progress.succeed(1);
        progress.all_succeeded().await;
    }
}
