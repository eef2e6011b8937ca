//! Bare: two statements by hand, the least that a queue can do.

use crate::database::{Error, connect};
use crate::progress::Progress;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Jobs per statement, of the batches.
pub(crate) const BATCH: u32 = 100;

/// Finished jobs are deleted.
pub(crate) const DONE: &str = "SELECT NOT EXISTS (SELECT FROM bare_job)";

const TABLE: &str = "
    CREATE TABLE bare_job (
        job int8 PRIMARY KEY,
        due_at timestamptz NOT NULL,
        claimed_at timestamptz);
    CREATE INDEX bare_job_due ON bare_job (due_at) WHERE claimed_at IS NULL";

const CLAIM: &str = "
    UPDATE bare_job SET claimed_at = now()
    WHERE job = ANY (ARRAY (
        SELECT job FROM bare_job WHERE claimed_at IS NULL AND due_at <= now()
        ORDER BY due_at FOR UPDATE SKIP LOCKED LIMIT $1))
    RETURNING job";

const FINISH: &str = "
    WITH finished AS (DELETE FROM bare_job WHERE job = ANY ($1) RETURNING job)
    INSERT INTO bench_outcome (job) SELECT job FROM finished";

const FAIL: &str = "
    UPDATE bare_job SET claimed_at = NULL, due_at = now() + interval '1 s' WHERE job = ANY ($1)";

/// How long a worker that finds no job waits.
const IDLE: Duration = Duration::from_millis(10);

pub(crate) async fn fill(url: &str, jobs: u32) -> Result<(), Error> {
    let client = connect(url).await?;
    let fill = format!(
        "{TABLE}; INSERT INTO bare_job SELECT job, now() - interval '1 h' + job * interval '1 ms'
         FROM generate_series(0, {jobs} - 1) job"
    );
    Ok(client.batch_execute(&fill).await?)
}

/// Each worker has a connection of its own.
pub(crate) async fn work(
    url: &str,
    workers: u32,
    batch: u32,
    progress: Arc<Progress>,
) -> Result<(), Error> {
    let mut running = JoinSet::new();
    for _ in 0..workers {
        running.spawn(work_alone(url.to_owned(), batch, progress.clone()));
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}

async fn work_alone(url: String, batch: u32, progress: Arc<Progress>) -> Result<(), Error> {
    let client = connect(&url).await?;
    // With a plan of their own for each, the planner would cost more than the statements.
    client
        .batch_execute("SET plan_cache_mode = force_generic_plan")
        .await?;
    let claim = client.prepare(CLAIM).await?;
    let finish = client.prepare(FINISH).await?;
    let fail = client.prepare(FAIL).await?;
    loop {
        let claimed = client.query(&claim, &[&i64::from(batch)]).await?;
        if claimed.is_empty() {
            tokio::time::sleep(IDLE).await;
            continue;
        }
        progress.start();
        let jobs = claimed.iter().map(|row| row.get::<_, i64>(0));
        let must_fail = |job: &i64| u32::try_from(*job).is_ok_and(|job| progress.must_fail(job));
        let (failed, succeeded): (Vec<i64>, Vec<i64>) = jobs.partition(must_fail);
        if !failed.is_empty() {
            client.execute(&fail, &[&failed]).await?;
        }
        if !succeeded.is_empty() {
            client.execute(&finish, &[&succeeded]).await?;
            progress.succeed(u32::try_from(succeeded.len())?);
        }
    }
}
