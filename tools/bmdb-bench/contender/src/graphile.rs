//! graphile_worker: jobs one by one, with its batching options, and as jobs of many items.

use crate::database::{Error, for_sqlx};
use crate::progress::Progress;
use graphile_worker::{
    BatchTaskHandler, IntoBatchTaskHandlerResult, IntoTaskHandlerResult, JobSpec, LocalQueueConfig,
    RawJobSpec, TaskHandler, WorkerContext, WorkerOptions, WorkerUtils,
};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::sync::Arc;
use std::time::Duration;

/// Finished jobs are deleted.
pub(crate) const DONE: &str = "SELECT NOT EXISTS (SELECT FROM graphile_worker._private_jobs)";

const SCHEMA: &str = "graphile_worker";

/// Items per job of a batch task.
const ITEMS: u32 = 100;

/// Jobs per statement that fills the queue.
const CHUNK: usize = 5_000;

/// How long a worker waits that has found no job.
const IDLE: Duration = Duration::from_millis(50);

/// What is done for many jobs at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Batched {
    Not,
    /// A local queue claims for all workers, and completions are collected for some milliseconds.
    Rows,
    /// The same for jobs of many items, whose handler gets all items of a job.
    Jobs,
}

#[derive(Debug, Serialize, Deserialize)]
struct Job {
    number: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Item {
    number: u32,
}

#[derive(Debug, Clone)]
struct Shared(Arc<Progress>);

impl TaskHandler for Job {
    const IDENTIFIER: &'static str = "job";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        let progress = progress(&context)?;
        progress.start();
        if progress.must_fail(self.number) {
            return Err("no answer".to_owned());
        }
        let insert = sqlx::query("INSERT INTO bench_outcome (job) VALUES ($1)");
        let insert = insert.bind(i64::from(self.number));
        let inserted = insert.execute(context.pg_pool()).await;
        inserted.map_err(|error| error.to_string())?;
        progress.succeed(1);
        Ok(())
    }
}

impl BatchTaskHandler for Item {
    const IDENTIFIER: &'static str = "item";

    async fn run_batch(
        items: Vec<Self>,
        context: WorkerContext,
    ) -> impl IntoBatchTaskHandlerResult {
        let progress = progress(&context)?;
        progress.start();
        let fail = items.iter().filter(|item| progress.must_fail(item.number));
        // All items of a job fail at the same time.
        if fail.count() > 0 {
            return Err("no answer".to_owned());
        }
        let numbers: Vec<i64> = items.iter().map(|item| item.number.into()).collect();
        let insert = sqlx::query("INSERT INTO bench_outcome (job) SELECT unnest($1::int8[])");
        let inserted = insert.bind(numbers).execute(context.pg_pool()).await;
        inserted.map_err(|error| error.to_string())?;
        progress.succeed(u32::try_from(items.len()).unwrap_or(u32::MAX));
        Ok(())
    }
}

fn progress(context: &WorkerContext) -> Result<Arc<Progress>, String> {
    let shared = context.get_ext::<Shared>().ok_or("has no progress")?;
    Ok(shared.0.clone())
}

pub(crate) async fn fill(url: &str, jobs: u32) -> Result<(), Error> {
    let utils = utils(url).await?;
    let jobs: Vec<RawJobSpec> = (0..jobs)
        .map(|number| RawJobSpec {
            identifier: Job::IDENTIFIER.to_owned(),
            payload: serde_json::json!({"number": number}),
            spec: JobSpec::default(),
        })
        .collect();
    for chunk in jobs.chunks(CHUNK) {
        utils.add_raw_jobs(chunk).await?;
    }
    Ok(())
}

pub(crate) async fn fill_in_batches(url: &str, jobs: u32) -> Result<(), Error> {
    let utils = utils(url).await?;
    let items: Vec<u32> = (0..jobs).collect();
    for items in items.chunks(usize::try_from(ITEMS)?) {
        let items = items.iter().map(|number| Item { number: *number });
        utils
            .add_batch_job(items.collect(), JobSpec::default())
            .await?;
    }
    Ok(())
}

async fn utils(url: &str) -> Result<WorkerUtils, Error> {
    let utils = WorkerUtils::new(pool(url, 2).await?, SCHEMA);
    utils.migrate().await?;
    Ok(utils)
}

/// Except for the number of workers as its guide sets up a "throughput-oriented worker".
///
/// Without a local queue not by `Worker::run`: of a queue that was filled before, each of its workers takes
/// one job at each poll, because only notifications of new jobs make it take more.
pub(crate) async fn work(
    url: &str,
    workers: u32,
    batched: Batched,
    progress: Arc<Progress>,
) -> Result<(), Error> {
    // A handler writes while others are claimed and completed.
    let pool = pool(url, workers + 4).await?;
    let delay = Duration::from_millis(5);
    let mut options = WorkerOptions::default()
        .schema(SCHEMA)
        .concurrency(usize::try_from(workers)?)
        .poll_interval(Duration::from_millis(500))
        .add_extension(Shared(progress))
        .define_job::<Job>()
        .define_batch_job::<Item>()
        .pg_pool(pool);
    if batched != Batched::Not {
        let queue = LocalQueueConfig::default().with_size(100);
        options = options
            .complete_job_batch_delay(delay)
            .fail_job_batch_delay(delay)
            .local_queue(queue.with_ttl(Duration::from_secs(60)));
    }
    let worker = options.init().await?;
    if batched != Batched::Not {
        worker.run().await?;
        return Ok(());
    }
    loop {
        worker.run_once().await?;
        tokio::time::sleep(IDLE).await;
    }
}

async fn pool(url: &str, connections: u32) -> Result<PgPool, Error> {
    let options = PgPoolOptions::new().max_connections(connections);
    Ok(options.connect(&for_sqlx(url)).await?)
}
