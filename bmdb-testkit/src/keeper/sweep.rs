//! What the keeper does in the background: dropping databases, its own and those of dead runs, and
//! templates that nobody has used for long.

use super::{Admin, Idle, Job, know, pop};
use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_postgres::Config;

/// Marks a failed test's database, which nobody sweeps.
const KEPT: &str = "kept: its test failed";

const STALE: &str = "
    SELECT d.datname FROM pg_database d
    WHERE d.datname ~ '^bmdb_test_[0-9a-f]{12}_[0-9]+$'
      AND shobj_description(d.oid, 'pg_database') IS DISTINCT FROM $1
      AND NOT EXISTS (SELECT 1 FROM pg_stat_activity a
                      WHERE a.application_name = 'bmdb-testkit ' || substr(d.datname, 11, 12))";

/// Templates whose mark says that two weeks ago was the last day somebody used them.
const UNUSED: &str = "
    SELECT d.datname FROM pg_database d
    WHERE d.datname ~ '^bmdb_template_[0-9a-f]{16}$' AND d.datistemplate
      AND shobj_description(d.oid, 'pg_database') LIKE 'last used %'
      AND shobj_description(d.oid, 'pg_database')
          < 'last used ' || to_char(current_date - 14, 'YYYY-MM-DD')";

/// Works until the keeper is gone; every failure to drop leaves a database to the next sweep.
pub(super) async fn keep(config: &Config, idle: &Idle, mut inbox: UnboundedReceiver<Job>) {
    let mut stale = VecDeque::new();
    let mut has_swept = false;
    loop {
        // What is stale waits for what the tests ask for.
        let job = match inbox.try_recv() {
            Ok(job) => job,
            Err(_) if !stale.is_empty() => Job::DropStale,
            Err(_) => match inbox.recv().await {
                Some(job) => job,
                None => return,
            },
        };
        match job {
            Job::Drop(name) => {
                let sql = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                run(config, idle, &sql).await;
            }
            Job::Keep(name, done) => {
                let sql = format!("COMMENT ON DATABASE {name} IS '{KEPT}'");
                run(config, idle, &sql).await;
                // Whoever waits for it may have given up.
                let _ = done.send(());
            }
            Job::Sweep if has_swept => {}
            Job::Sweep => {
                has_swept = true;
                stale = find_stale(config, idle).await;
            }
            Job::DropStale => {
                if let Some(name) = stale.pop_front() {
                    // Without FORCE: should anybody be connected after all, it stays.
                    run(config, idle, &format!("DROP DATABASE IF EXISTS {name}")).await;
                }
            }
        }
    }
}

async fn run(config: &Config, idle: &Idle, sql: &str) {
    if let Some(admin) = admin(config, idle).await {
        let _ = admin.batch_execute(sql).await;
    }
}

/// The names of dead runs' databases. Unused templates are dropped at once: they are few.
async fn find_stale(config: &Config, idle: &Idle) -> VecDeque<String> {
    let Some(admin) = admin(config, idle).await else {
        return VecDeque::new();
    };
    for template in admin.query(UNUSED, &[]).await.unwrap_or_default() {
        let name: String = template.get(0);
        let ordinary = format!("ALTER DATABASE {name} IS_TEMPLATE false");
        if admin.batch_execute(&ordinary).await.is_ok() {
            let drop = format!("DROP DATABASE IF EXISTS {name}");
            let _ = admin.batch_execute(&drop).await;
        }
    }
    let stale = admin.query(STALE, &[&KEPT]).await.unwrap_or_default();
    stale.iter().map(|row| row.get(0)).collect()
}

/// An idle connection, or a new one where all are at work.
async fn admin(config: &Config, idle: &Idle) -> Option<Admin> {
    let known = match pop(idle) {
        Some(known) => known,
        None => know(config).await.ok()?,
    };
    Some(Admin {
        known,
        idle: idle.clone(),
        runtime: Handle::current(),
        is_passed_on: AtomicBool::new(false),
    })
}
