//! Sampler: counts the fleet in the background, one sample at a time.

use crate::sample::Sample;
use bmdb_core::Reader;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// The pause after a sample is at least this many times as long as the sample took. So counting keeps the
/// database busy for at most a tenth of the time, in a fleet of any size.
const PAUSE_PER_SAMPLE: u32 = 9;

/// How a [`Sampler`] takes samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SampleOptions {
    /// The pause after a sample. It is longer after a sample that took more than a ninth of it.
    /// Default: 15 s.
    pub interval: Duration,
    /// How long a sample may take. Default: 60 s.
    pub timeout: Duration,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            timeout: Duration::from_secs(60),
        }
    }
}

impl SampleOptions {
    /// Sets the pause; at least a second.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self {
            interval: interval.max(Duration::from_secs(1)),
            ..self
        }
    }

    /// Sets the timeout.
    #[must_use]
    pub const fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }
}

/// What a [`Sampler`] has counted.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Latest {
    /// The last sample that succeeded. `None` before the first.
    pub sample: Option<Arc<Sample>>,
    /// The error of the last sample, if it failed.
    pub error: Option<Arc<str>>,
}

/// Takes samples in the background, until its last clone is dropped.
#[derive(Debug, Clone)]
pub struct Sampler {
    latest: watch::Receiver<Latest>,
    /// Aborted when it is dropped.
    _task: Arc<JoinSet<()>>,
}

impl Sampler {
    /// Starts sampling, with the first sample at once. Needs a tokio runtime.
    ///
    /// Give it its own reader with one connection, and a `statement_timeout` equal to the timeout of a
    /// sample. Then no page waits for a sample, and the server cancels a count that takes too long.
    #[must_use]
    pub fn start(reader: Reader, options: SampleOptions) -> Self {
        let (newest, latest) = watch::channel(Latest::default());
        let mut task = JoinSet::new();
        task.spawn(run(reader, options, newest));
        Self {
            latest,
            _task: Arc::new(task),
        }
    }

    /// The latest sample. Returns at once.
    #[must_use]
    pub fn latest(&self) -> Latest {
        self.latest.borrow().clone()
    }

    /// Waits until the first sample has succeeded or failed.
    pub async fn first(&self) -> Latest {
        let mut latest = self.latest.clone();
        let is_over = |latest: &Latest| latest.sample.is_some() || latest.error.is_some();
        // Fails only when the runtime shuts down.
        let first = latest.wait_for(is_over).await.map(|latest| latest.clone());
        first.unwrap_or_default()
    }
}

async fn run(reader: Reader, options: SampleOptions, newest: watch::Sender<Latest>) {
    loop {
        let begun = Instant::now();
        let taken = match timeout(options.timeout, Sample::take(&reader)).await {
            Ok(taken) => taken.map_err(|error| error.to_string()),
            Err(_) => Err(format!("it took longer than {:?}", options.timeout)),
        };
        newest.send_modify(|latest| match taken {
            Ok(sample) => {
                latest.error = None;
                latest.sample = Some(Arc::new(sample));
            }
            Err(error) => {
                tracing::warn!(error, "cannot count the fleet");
                latest.error = Some(error.into());
            }
        });
        sleep(options.interval.max(begun.elapsed() * PAUSE_PER_SAMPLE)).await;
    }
}
