//! apalis with its storage in PostgreSQL: one worker with many tasks, as its example sets it up.

use crate::database::{Error, for_sqlx};
use crate::progress::Progress;
use apalis::prelude::*;
use apalis_postgres::{Config, PostgresStorage};
use futures_util::stream;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use std::sync::Arc;
use std::time::Duration;

/// Whether every task has succeeded.
pub(crate) const DONE: &str = "SELECT NOT EXISTS (SELECT FROM apalis.jobs WHERE status <> 'Done')";

/// Tasks per statement that fills the queue.
const CHUNK: u32 = 5_000;

pub(crate) async fn fill(url: &str, jobs: u32) -> Result<(), Error> {
    let pool = pool(url, 2).await?;
    PostgresStorage::<()>::setup(&pool).await?;
    let mut storage = storage(&pool);
    for first in (0..jobs).step_by(usize::try_from(CHUNK)?) {
        let numbers = first..jobs.min(first + CHUNK);
        let tasks = numbers.map(|number| TaskBuilder::new(number).max_attempts(5).build());
        storage.push_all(&mut stream::iter(tasks)).await?;
    }
    Ok(())
}

pub(crate) async fn work(url: &str, workers: u32, progress: Arc<Progress>) -> Result<(), Error> {
    // A handler writes while others are claimed and acknowledged.
    let pool = pool(url, workers + 4).await?;
    let interval = Strategy::new().interval(Duration::from_millis(100));
    WorkerBuilder::new("comparison")
        .backend(storage(&pool).poll_with_strategy(interval))
        .concurrency(usize::try_from(workers)?)
        .parallelize(tokio::spawn)
        .data(Shared { progress, pool })
        .build(handle)
        .run()
        .await?;
    Ok(())
}

#[derive(Debug, Clone)]
struct Shared {
    progress: Arc<Progress>,
    pool: PgPool,
}

async fn handle(number: u32, shared: Data<Shared>) -> Result<(), BoxDynError> {
    shared.progress.start();
    if shared.progress.must_fail(number) {
        return Err("no answer".into());
    }
    let insert = sqlx::query("INSERT INTO bench_outcome (job) VALUES ($1)");
    insert.bind(i64::from(number)).execute(&shared.pool).await?;
    shared.progress.succeed(1);
    Ok(())
}

/// The batch size and the locks are those of its example.
fn storage(pool: &PgPool) -> PostgresStorage<u32> {
    let config = Config::default().queue("comparison");
    PostgresStorage::new(pool).with_config(config.batch_size(100).lock_tasks(false))
}

async fn pool(url: &str, connections: u32) -> Result<PgPool, Error> {
    let options = PgPoolOptions::new().max_connections(connections);
    Ok(options.connect(&for_sqlx(url)).await?)
}
