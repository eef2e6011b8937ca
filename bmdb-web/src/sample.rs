//! The sample: counts of the whole fleet, taken in the background, one at a time.
//!
//! Counting reads whole tables, seconds of it in a fleet of a million machines. So nobody counts who
//! answers a request: pages and metrics show what was counted last, and how long ago that was.

use bmdb_core::{Reader, TxError};
use bmdb_model::counts::{self, FleetCounts, PendingCounts, ProcessCounts};
use bmdb_model::{ErrorKind, Process, ProcessDef, custom_tags, process};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};

/// A sampler rests for this many times as long as its last sample took: the database is at work for it
/// during a tenth of the time at most, in however large a fleet.
const REST: u32 = 9;

/// How samples are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SampleOptions {
    /// The pause after a sample; longer after one that took more than a ninth of it. Default: 15 s.
    pub interval: Duration,
    /// How long a sample may take before it is given up. Default: 60 s.
    pub limit: Duration,
}

impl Default for SampleOptions {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(15),
            limit: Duration::from_secs(60),
        }
    }
}

impl SampleOptions {
    /// The same with another pause; at least a second.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self {
            interval: interval.max(Duration::from_secs(1)),
            ..self
        }
    }

    /// The same with another limit.
    #[must_use]
    pub const fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }
}

/// Counts of the whole fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sample {
    /// The fleet.
    pub fleet: FleetCounts,
    /// The processes that are defined, and those that have work items; sorted by name.
    pub processes: Vec<ProcessCounts>,
    /// What waits for each process that has a workflow.
    pub pending: Vec<PendingCounts>,
    /// Processes whose workflow could not be counted by, and why. The others were.
    pub uncounted: Vec<(Process, String)>,
    /// The tables of tags, anybody's too, and how many machines have each; by name.
    pub tags: Vec<(String, i64)>,
    /// Tables of tags that could not be counted, and why. The others were.
    pub uncounted_tags: Vec<(String, String)>,
    /// How long it took to count.
    pub took: Duration,
    taken: Instant,
}

impl Sample {
    /// Counts the fleet. Each count is a read of its own: they need not be of the same moment, and none
    /// keeps old rows from being vacuumed for longer than it takes itself.
    ///
    /// # Errors
    /// What reading fails with, unless it is the workflow of a process that cannot be counted by
    /// ([`Sample::uncounted`]).
    pub async fn take(reader: &Reader) -> Result<Self, TxError> {
        take(reader, Instant::now()).await
    }

    /// How long ago it was begun.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.taken.elapsed()
    }

    /// How many machines could be claimed for this process now: by its workflow, else by its work items.
    /// None where it could not be counted.
    #[must_use]
    pub fn due(&self, counts: &ProcessCounts) -> Option<i64> {
        let process = &counts.process;
        match self.pending_for(process) {
            Some(pending) => Some(pending.machines),
            None if self.uncounted.iter().any(|(failed, _)| failed == process) => None,
            None => counts.due,
        }
    }

    /// What waits for this process, if it could be counted.
    #[must_use]
    pub fn pending_for(&self, process: &Process) -> Option<&PendingCounts> {
        self.pending
            .iter()
            .find(|pending| pending.process == *process)
    }
}

/// What a sampler has to show.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Latest {
    /// The last sample that came to an end; none before the first.
    pub sample: Option<Arc<Sample>>,
    /// Why there is no newer one, if the last try failed.
    pub error: Option<Arc<str>>,
}

/// Takes samples in the background, until its last clone is dropped.
#[derive(Debug, Clone)]
pub struct Sampler {
    latest: watch::Receiver<Latest>,
    _task: Arc<Task>,
}

#[derive(Debug)]
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Sampler {
    /// Starts with a sample at once. Needs a tokio runtime.
    ///
    /// Give it a reader of its own, with one connection, and its `statement_timeout` as the limit of the
    /// sample: then no page waits for a sample, and the server gives up a count that takes too long.
    #[must_use]
    pub fn start(reader: Reader, options: SampleOptions) -> Self {
        let (newest, latest) = watch::channel(Latest::default());
        let task = tokio::spawn(run(reader, options, newest));
        Self {
            latest,
            _task: Arc::new(Task(task.abort_handle())),
        }
    }

    /// What was counted last. Costs nothing.
    #[must_use]
    pub fn latest(&self) -> Latest {
        self.latest.borrow().clone()
    }

    /// Resolves when the first try is over, with what came of it.
    pub async fn first(&self) -> Latest {
        let mut latest = self.latest.clone();
        let tried = |latest: &Latest| latest.sample.is_some() || latest.error.is_some();
        // Fails only when the runtime shuts down.
        let first = latest.wait_for(tried).await.map(|latest| latest.clone());
        first.unwrap_or_default()
    }
}

async fn run(reader: Reader, options: SampleOptions, newest: watch::Sender<Latest>) {
    loop {
        let began = Instant::now();
        let taken = match timeout(options.limit, Sample::take(&reader)).await {
            Ok(taken) => taken.map_err(|error| error.to_string()),
            Err(_) => Err(format!("it took longer than {:?}", options.limit)),
        };
        newest.send_modify(|latest| match taken {
            Ok(sample) => {
                latest.error = None;
                latest.sample = Some(Arc::new(sample));
            }
            Err(error) => {
                tracing::warn!(%error, "the fleet could not be counted");
                latest.error = Some(error.into());
            }
        });
        sleep(options.interval.max(began.elapsed() * REST)).await;
    }
}

async fn take(reader: &Reader, began: Instant) -> Result<Sample, TxError> {
    let fleet = reader
        .read(async |conn| Ok(counts::fleet(conn).await?))
        .await?;
    let processes = reader
        .read(async |conn| Ok(counts::processes(conn).await?))
        .await?;
    let definitions = reader
        .read(async |conn| Ok(process::all(conn).await?))
        .await?;
    let mut pending = Vec::new();
    let mut uncounted = Vec::new();
    for definition in &definitions {
        let counted = async |conn: &mut _| Ok(counts::pending(conn, definition).await?);
        match reader.read(counted).await {
            Ok(counted) => pending.extend(counted),
            // Somebody else's view, which the other processes must not suffer from.
            Err(error) if is_of_what_is_counted(&error) => {
                tracing::warn!(process = %definition.process, %error, "its workflow cannot be counted");
                uncounted.push((definition.process.clone(), error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    let (tags, uncounted_tags) = count_tags(reader).await?;
    Ok(Sample {
        processes: with_those_at_rest(processes, &definitions, fleet.machines),
        fleet,
        pending,
        uncounted,
        tags,
        uncounted_tags,
        took: began.elapsed(),
        taken: began,
    })
}

/// A name, and what there is to say of it.
type Named<T> = (String, T);

/// The tags that could be counted, and those that could not.
async fn count_tags(reader: &Reader) -> Result<(Vec<Named<i64>>, Vec<Named<String>>), TxError> {
    let tables = reader
        .read(async |conn| Ok(custom_tags::tables(conn).await?))
        .await?;
    let (mut tags, mut uncounted) = (Vec::new(), Vec::new());
    for table in &tables {
        if !table.readable {
            let reason = "the database user may not read this table".to_owned();
            uncounted.push((table.name.clone(), reason));
            continue;
        }
        let counted = async |conn: &mut _| Ok(custom_tags::count(conn, table).await?);
        match reader.read(counted).await {
            Ok(machines) => tags.push((table.name.clone(), machines)),
            // Dropped since, or locked for too long.
            Err(error) if is_of_what_is_counted(&error) => {
                tracing::warn!(table = %table.name, %error, "the table of a tag cannot be counted");
                uncounted.push((table.name.clone(), error.to_string()));
            }
            Err(error) => return Err(error),
        }
    }
    Ok((tags, uncounted))
}

/// Whether anything else can be counted all the same.
fn is_of_what_is_counted(error: &TxError) -> bool {
    let is_gone = error.kind() == Some(ErrorKind::ConnectionLost);
    !is_gone && !matches!(error, TxError::Unavailable(_))
}

/// A process without items has counts too, or its metrics would come and go.
fn with_those_at_rest(
    mut counted: Vec<ProcessCounts>,
    defined: &[ProcessDef],
    machines: i64,
) -> Vec<ProcessCounts> {
    for definition in defined {
        let process = &definition.process;
        if !counted.iter().any(|counts| counts.process == *process) {
            let mut counts = ProcessCounts::new(process.clone());
            counts.due = (!definition.replan_on_claim).then_some(0);
            counts.not_eligible = machines;
            counted.push(counts);
        }
    }
    counted.sort_by(|one, other| one.process.as_str().cmp(other.process.as_str()));
    counted
}
