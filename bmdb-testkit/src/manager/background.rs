//! The manager's background work: drops databases of this run and of dead runs, and templates that
//! have not been used for a long time.

use super::admin::Admin;
use super::pool::Pool;
use crate::connect::rows;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use tokio_postgres::Config;

/// Marks the database of a failed test, which is not dropped.
const KEPT: &str = "kept: its test failed";

/// The databases of dead runs. Those with a connection are left out: dropping one would wait 5 s for
/// the connection, and block the statements of tests. The order is random so that several processes do
/// not all begin with the same database.
const STALE: &str = "
    SELECT d.datname FROM pg_database d
    WHERE d.datname ~ '^bmdb_test_[0-9a-f]{12}_[0-9]+$'
      AND shobj_description(d.oid, 'pg_database') IS DISTINCT FROM 'kept: its test failed'
      AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a
                      WHERE a.datid = d.oid
                         OR a.application_name = 'bmdb-testkit ' || substr(d.datname, 11, 12))
    ORDER BY random()";

/// Templates whose mark shows that they were last used more than two weeks ago.
const UNUSED: &str = "
    SELECT d.datname FROM pg_database d
    WHERE d.datname ~ '^bmdb_template_[0-9a-f]{16}$' AND d.datistemplate
      AND shobj_description(d.oid, 'pg_database') LIKE 'last used %'
      AND shobj_description(d.oid, 'pg_database')
          < 'last used ' || to_char(current_date - 14, 'YYYY-MM-DD')";

#[derive(Debug)]
pub(super) enum Job {
    Drop(String),
    Keep(String, std::sync::mpsc::Sender<()>),
    /// Drop the databases of dead runs.
    DropStale,
}

/// How soon unused databases are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DropTiming {
    /// At once: the server continues to run after the tests, and so do the databases they leave.
    AtOnce,
    /// When the tests pause, or when there are many databases. The server and its databases are
    /// removed with the tests, and most test processes end before the drops would have run.
    WhenIdle,
}

/// More databases of this run than this are dropped without a pause.
const MANY_OWN: usize = 16;

/// The same for the databases of all runs, including those in use and the server's own.
const MANY: usize = 40;

/// Without a job for this long, the tests pause.
const PAUSE: Duration = Duration::from_millis(100);

/// What remains to be done.
#[derive(Debug, Default)]
struct Pending {
    own: VecDeque<String>,
    /// The databases of dead runs.
    stale: VecDeque<String>,
    /// Whether those are still to be searched for.
    find_stale: bool,
    is_pause: bool,
    is_crowded: bool,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.stale.is_empty() && !self.find_stale
    }

    fn is_due(&self) -> bool {
        self.is_pause || self.is_crowded || self.own.len() > MANY_OWN
    }
}

/// Runs until the manager is dropped. If a drop fails, a later run drops that database.
pub(super) async fn run(
    config: &Config,
    pool: &Arc<Pool>,
    mut inbox: UnboundedReceiver<Job>,
    timing: DropTiming,
) {
    let mut pending = Pending::default();
    let mut has_searched = false;
    loop {
        let job = if pending.is_empty() {
            pending.is_crowded = false;
            inbox.recv().await
        } else {
            let is_due = timing == DropTiming::AtOnce || pending.is_due();
            // Jobs from the tests go first.
            let limit = if is_due { Duration::ZERO } else { PAUSE };
            if let Ok(job) = timeout(limit, inbox.recv()).await {
                job
            } else {
                pending.is_pause |= !is_due;
                do_one(config, pool, &mut pending).await;
                continue;
            }
        };
        pending.is_pause = false;
        match job {
            None => return,
            Some(Job::Drop(name)) => pending.own.push_back(name),
            Some(Job::Keep(name, done)) => {
                let sql = format!("COMMENT ON DATABASE {name} IS '{KEPT}'");
                run_sql(config, pool, &sql).await;
                // The receiver may have timed out.
                let _ = done.send(());
            }
            Some(Job::DropStale) if has_searched => {}
            Some(Job::DropStale) => {
                has_searched = true;
                pending.find_stale = true;
                pending.is_crowded =
                    timing == DropTiming::WhenIdle && is_crowded(config, pool).await;
            }
        }
    }
}

async fn do_one(config: &Config, pool: &Arc<Pool>, pending: &mut Pending) {
    if let Some(name) = pending.own.pop_front() {
        let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        run_sql(config, pool, &sql).await;
    } else if pending.find_stale {
        pending.find_stale = false;
        pending.stale = find_stale(config, pool).await;
    } else if let Some(name) = pending.stale.pop_front() {
        // Without FORCE: if a process has connected meanwhile, the database stays.
        run_sql(config, pool, &format!("DROP DATABASE IF EXISTS {name}")).await;
    }
}

async fn run_sql(config: &Config, pool: &Arc<Pool>, sql: &str) {
    if let Some(admin) = admin(config, pool).await {
        let _ = admin.batch_execute(sql).await;
    }
}

async fn is_crowded(config: &Config, pool: &Arc<Pool>) -> bool {
    let all = "SELECT datname FROM pg_database";
    names(config, pool, all).await.len() > MANY
}

/// The names of dead runs' databases. This drops unused templates at once, because they are few.
async fn find_stale(config: &Config, pool: &Arc<Pool>) -> VecDeque<String> {
    for template in names(config, pool, UNUSED).await {
        let unmark = format!("ALTER DATABASE {template} IS_TEMPLATE false");
        let drop = format!("DROP DATABASE IF EXISTS {template}");
        run_sql(config, pool, &unmark).await;
        run_sql(config, pool, &drop).await;
    }
    names(config, pool, STALE).await.into()
}

async fn names(config: &Config, pool: &Arc<Pool>, query: &str) -> Vec<String> {
    let Some(admin) = admin(config, pool).await else {
        return Vec::new();
    };
    let rows = rows(&admin, query).await.unwrap_or_default();
    let names = rows.iter().filter_map(|row| row.get(0));
    names.map(str::to_owned).collect()
}

/// An idle connection, or a new one if all are in use.
async fn admin(config: &Config, pool: &Arc<Pool>) -> Option<Admin> {
    match Admin::idle(pool, &Handle::current()) {
        Some(idle) => Some(idle),
        None => Admin::new(pool, config, None).await.ok(),
    }
}
