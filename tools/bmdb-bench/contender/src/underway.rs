//! underway: its worker's step, which takes one task, runs it and ends it, by as many tasks at once.

use crate::database::{Error, for_sqlx};
use crate::progress::Progress;
use sqlx_of_underway::postgres::PgPoolOptions;
use sqlx_of_underway::{PgPool, Postgres, Transaction};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use underway::task::{Error as TaskError, Result as TaskResult, RetryPolicy};
use underway::{Queue, Task, Worker};

/// Whether every task has succeeded.
pub(crate) const DONE: &str =
    "SELECT NOT EXISTS (SELECT FROM underway.task WHERE state <> 'succeeded')";

/// How long a worker that finds no task waits.
const IDLE: Duration = Duration::from_millis(50);

/// A server accepts 300 connections here.
const MOST_CONNECTIONS: u32 = 200;

#[derive(Debug, Clone)]
struct Job(Option<Arc<Progress>>);

impl Task for Job {
    type Input = u32;
    type Output = ();

    async fn execute(&self, mut tx: Transaction<'_, Postgres>, number: u32) -> TaskResult<()> {
        let fatal = || TaskError::Fatal("has no progress".to_owned());
        let progress = self.0.as_ref().ok_or_else(fatal)?;
        progress.start();
        if progress.must_fail(number) {
            return Err(TaskError::Retryable("no answer".to_owned()));
        }
        let insert = sqlx_of_underway::query("INSERT INTO bench_outcome (job) VALUES ($1)");
        insert.bind(i64::from(number)).execute(&mut *tx).await?;
        tx.commit().await?;
        progress.succeed(1);
        Ok(())
    }

    fn retry_policy(&self) -> RetryPolicy {
        RetryPolicy::builder().initial_interval_ms(1_000).build()
    }
}

pub(crate) async fn fill(url: &str, jobs: u32) -> Result<(), Error> {
    let pool = pool(url, 2).await?;
    underway::run_migrations(&pool).await?;
    let jobs: Vec<u32> = (0..jobs).collect();
    queue(&pool)
        .await?
        .enqueue_multi(&pool, &Job(None), &jobs)
        .await?;
    Ok(())
}

/// Not by `Worker::run`: of a queue that was filled before, it works on one task at a time, because only
/// notifications of new tasks make it work on more.
pub(crate) async fn work(url: &str, workers: u32, progress: Arc<Progress>) -> Result<(), Error> {
    // A task needs its transaction, and another connection for its heartbeat.
    let pool = pool(url, (2 * workers + 2).min(MOST_CONNECTIONS)).await?;
    let queue = Arc::new(queue(&pool).await?);
    let mut running = JoinSet::new();
    for _ in 0..workers {
        let worker = Worker::new(queue.clone(), Job(Some(progress.clone())));
        running.spawn(process(worker));
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}

async fn process(worker: Worker<Job>) -> Result<(), Error> {
    loop {
        if worker.process_next_task().await?.is_none() {
            tokio::time::sleep(IDLE).await;
        }
    }
}

async fn queue(pool: &PgPool) -> Result<Queue<Job>, Error> {
    let queue = Queue::builder().name("comparison").pool(pool.clone());
    Ok(queue.build().await?)
}

async fn pool(url: &str, connections: u32) -> Result<PgPool, Error> {
    let options = PgPoolOptions::new().max_connections(connections);
    Ok(options.connect(&for_sqlx(url)).await?)
}
