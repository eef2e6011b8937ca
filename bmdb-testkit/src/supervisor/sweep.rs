//! What the keeper does in the background: dropping databases, its own and those of dead runs, and
//! templates that nobody has used for long.

use super::registry::Pool;
use super::{Admin, Job};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::timeout;
use tokio_postgres::{Config, SimpleQueryMessage};

/// Marks a failed test's database, which nobody sweeps.
const KEPT: &str = "kept: its test failed";

/// Not those that somebody is connected to: dropping one would wait for that for 5 seconds, and what
/// the tests ask for with it. In any order, so that several processes that sweep do not all begin
/// with the same.
const STALE: &str = "
    SELECT d.datname FROM pg_database d
    WHERE d.datname ~ '^bmdb_test_[0-9a-f]{12}_[0-9]+$'
      AND shobj_description(d.oid, 'pg_database') IS DISTINCT FROM 'kept: its test failed'
      AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a
                      WHERE a.datid = d.oid
                         OR a.application_name = 'bmdb-testkit ' || substr(d.datname, 11, 12))
    ORDER BY random()";

/// Templates whose mark says that two weeks ago was the last day somebody used them.
const UNUSED: &str = "
    SELECT d.datname FROM pg_database d
    WHERE d.datname ~ '^bmdb_template_[0-9a-f]{16}$' AND d.datistemplate
      AND shobj_description(d.oid, 'pg_database') LIKE 'last used %'
      AND shobj_description(d.oid, 'pg_database')
          < 'last used ' || to_char(current_date - 14, 'YYYY-MM-DD')";

/// How soon databases are dropped that nobody needs any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// At once: the server stays when the tests have ended, and so does what they leave.
    Prompt,
    /// When the tests pause, or when there are many: the server and all that is on it go with the
    /// tests, and most test processes end sooner than what they would drop is dropped.
    Patient,
}

/// A patient keeper lets so many of its own databases wait.
const MANY_OWN: usize = 16;

/// And so many of all runs together, those in use and the server's own among them.
const MANY: usize = 40;

/// Nothing asked for in this time is a pause.
const PAUSE: Duration = Duration::from_millis(100);

/// What waits to be done.
#[derive(Debug, Default)]
struct Waiting {
    own: VecDeque<String>,
    /// Those of dead runs.
    stale: VecDeque<String>,
    /// Whether those are still to be looked for.
    sweep: bool,
    /// Whether the tests pause.
    is_pause: bool,
    is_crowded: bool,
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.stale.is_empty() && !self.sweep
    }

    fn is_due(&self) -> bool {
        self.is_pause || self.is_crowded || self.own.len() > MANY_OWN
    }
}

/// Works until the keeper is gone; every failure to drop leaves a database to the next sweep.
pub(super) async fn keep(
    config: &Config,
    pool: &Arc<Pool>,
    mut inbox: UnboundedReceiver<Job>,
    manner: Manner,
) {
    let mut waiting = Waiting::default();
    let mut has_swept = false;
    loop {
        let job = if waiting.is_empty() {
            waiting.is_crowded = false;
            inbox.recv().await
        } else {
            let is_due = manner == Manner::Prompt || waiting.is_due();
            // What the tests ask for goes first.
            let limit = if is_due { Duration::ZERO } else { PAUSE };
            if let Ok(job) = timeout(limit, inbox.recv()).await {
                job
            } else {
                waiting.is_pause |= !is_due;
                do_one(config, pool, &mut waiting).await;
                continue;
            }
        };
        waiting.is_pause = false;
        match job {
            None => return,
            Some(Job::Drop(name)) => waiting.own.push_back(name),
            Some(Job::Keep(name, done)) => {
                let sql = format!("COMMENT ON DATABASE {name} IS '{KEPT}'");
                run(config, pool, &sql).await;
                // Whoever waits for it may have given up.
                let _ = done.send(());
            }
            Some(Job::Sweep) if has_swept => {}
            Some(Job::Sweep) => {
                has_swept = true;
                waiting.sweep = true;
                waiting.is_crowded = manner == Manner::Patient && is_crowded(config, pool).await;
            }
        }
    }
}

async fn do_one(config: &Config, pool: &Arc<Pool>, waiting: &mut Waiting) {
    if let Some(name) = waiting.own.pop_front() {
        let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        run(config, pool, &sql).await;
    } else if waiting.sweep {
        waiting.sweep = false;
        waiting.stale = find_stale(config, pool).await;
    } else if let Some(name) = waiting.stale.pop_front() {
        // Without FORCE: should anybody be connected after all, it stays.
        run(config, pool, &format!("DROP DATABASE IF EXISTS {name}")).await;
    }
}

async fn run(config: &Config, pool: &Arc<Pool>, sql: &str) {
    if let Some(admin) = admin(config, pool).await {
        let _ = admin.batch_execute(sql).await;
    }
}

async fn is_crowded(config: &Config, pool: &Arc<Pool>) -> bool {
    let all = "SELECT datname FROM pg_database";
    names(config, pool, all).await.len() > MANY
}

/// The names of dead runs' databases. Unused templates are dropped at once: they are few.
async fn find_stale(config: &Config, pool: &Arc<Pool>) -> VecDeque<String> {
    for template in names(config, pool, UNUSED).await {
        let ordinary = format!("ALTER DATABASE {template} IS_TEMPLATE false");
        let drop = format!("DROP DATABASE IF EXISTS {template}");
        run(config, pool, &ordinary).await;
        run(config, pool, &drop).await;
    }
    names(config, pool, STALE).await.into()
}

async fn names(config: &Config, pool: &Arc<Pool>, query: &str) -> Vec<String> {
    let Some(admin) = admin(config, pool).await else {
        return Vec::new();
    };
    let answer = admin.simple_query(query).await.unwrap_or_default();
    let names = answer.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    names.map(str::to_owned).collect()
}

/// An idle connection, or a new one where all are at work.
async fn admin(config: &Config, pool: &Arc<Pool>) -> Option<Admin> {
    match Admin::idle(pool, &Handle::current()) {
        Some(idle) => Some(idle),
        None => Admin::new(pool, config, None).await.ok(),
    }
}
