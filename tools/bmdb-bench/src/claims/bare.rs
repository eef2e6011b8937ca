//! Bare statements: the least that any queue in this database could cost.

use super::baseline::{Clients, Measured};
use super::bench::Bench;
use super::script::Script;
use bmdb_shell::{Done, Failure};
use bmdb_testkit::TestDb;

/// A row for each client, so that none waits for another's lock.
const COMMITS: &str = "
    CREATE TABLE bare_commit (client int PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50);
    INSERT INTO bare_commit SELECT client, 0 FROM generate_series(0, 299) client";

const COMMIT: &str = "UPDATE bare_commit SET n = n + 1 WHERE client = :client_id;\n";

const QUEUE: &str = "
    CREATE TABLE bare_work (
        id bigint PRIMARY KEY, due_at timestamptz NOT NULL, claimed_at timestamptz, done_at timestamptz
    );
    CREATE INDEX bare_work_due ON bare_work (due_at) WHERE claimed_at IS NULL";

/// A claim and an end as a minimal queue would have them, without a lease, a fence or history.
const CLAIM_AND_FINISH: &str = "
    WITH claimed AS (
        UPDATE bare_work SET claimed_at = clock_timestamp()
        WHERE id = ANY (ARRAY(SELECT id FROM bare_work WHERE claimed_at IS NULL AND due_at <= now()
                              ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED))
        RETURNING id
    )
    SELECT array_agg(id) AS ids FROM claimed \\gset
    UPDATE bare_work SET done_at = clock_timestamp() WHERE id = ANY (:ids::bigint[]);\n";

/// A database with a minimal queue.
#[derive(Debug)]
pub(super) struct Bare {
    db: TestDb,
}

impl Bare {
    pub(super) async fn new(bench: &Bench) -> Result<Self, Failure> {
        let db = TestDb::on(&bench.server).await.map_err(Failure::check)?;
        for table in [COMMITS, QUEUE] {
            db.run_sql(table).await.map_err(Failure::check)?;
        }
        Ok(Self { db })
    }

    /// Commits of one row by each client; `None` without pgbench.
    pub(super) async fn commits(
        &self,
        bench: &Bench,
        clients: Clients,
    ) -> Result<Option<Measured>, Failure> {
        self.run(bench, COMMIT, clients).await
    }

    /// Two bare statements: each client claims and finishes what a minimal queue contains.
    pub(super) async fn queue(
        &self,
        bench: &Bench,
        clients: Clients,
    ) -> Result<Option<Measured>, Failure> {
        let rows = match clients.batch {
            1 => 20_000 * clients.duration(),
            _ => 150_000 * clients.duration(),
        };
        self.fill(rows).await?;
        self.run(bench, CLAIM_AND_FINISH, clients).await
    }

    async fn fill(&self, rows: u32) -> Done {
        let fill = format!(
            "TRUNCATE bare_work;
             INSERT INTO bare_work (id, due_at) SELECT id, now() FROM generate_series(1, {rows}) id"
        );
        for sql in [fill.as_str(), "VACUUM ANALYZE bare_work"] {
            self.db.run_sql(sql).await.map_err(Failure::check)?;
        }
        Ok(())
    }

    async fn run(
        &self,
        bench: &Bench,
        text: &str,
        clients: Clients,
    ) -> Result<Option<Measured>, Failure> {
        let Ok(baseline) = &bench.baseline else {
            return Ok(None);
        };
        let mut script = Script::new();
        script.text.push_str(text);
        let limit = ("limit".to_owned(), clients.batch.to_string());
        script.variables.push(limit);
        let measured = baseline.run_bare(&self.db, &bench.server, &script, clients);
        Ok(Some(measured.await?))
    }
}
