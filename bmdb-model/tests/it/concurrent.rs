//! Every migration runs while components of every compatible earlier version write, and they continue
//! to write afterwards.

use crate::schema_snapshots::writer::{Journal, Progress, Writer};
use crate::schema_snapshots::{self, versions};
use bmdb_backoff::{Backoff, Seconds};
use bmdb_model::migration::{self, MigrationError};
use bmdb_testkit::TestDb;
use bmdb_testkit::audit::{Rules, StillClaimed, Violation, audit};
use futures_util::future::{join, join_all};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The policy of the writers' failures.
const EVERY_SECOND: Backoff = Backoff::fixed(Seconds::new(1).unwrap());

const WRITERS: usize = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_version_is_migrated_beside_writers_of_the_versions_before_it() {
    let versions = versions();
    let (_, older) = versions.split_last().unwrap();
    join_all(older.iter().map(|version| beside(version))).await;
}

async fn beside(version: &str) {
    let db = TestDb::at_version(version).await.unwrap();
    let statements = schema_snapshots::of(version);
    let mut names: BTreeSet<String> = statements.keys().cloned().collect();
    names.remove("plan_branch");
    let progress = Arc::new(Progress::default());
    let starting =
        (0..WRITERS).map(|_| Writer::start(db.url(), statements.clone(), progress.clone()));
    let writers = join_all(starting).await.into_iter().map(Writer::run);
    let migrated = async {
        progress.all_anew(&names).await;
        for next in versions()
            .into_iter()
            .filter(|next| next.as_str() > version)
        {
            if mark(&next).await.as_str() > version {
                break;
            }
            migrate(&db, &next).await;
            progress.all_anew(&names).await;
        }
        progress.stop();
    };
    let (journals, ()) = join(join_all(writers), migrated).await;
    judge(&db, version, journals).await;
}

/// The oldest version that may still write to a database of this one.
async fn mark(version: &str) -> String {
    let db = TestDb::at_version(version).await.unwrap();
    let mark = "SELECT oldest_compatible FROM schema_compatibility";
    db.rows(mark).await.unwrap().remove(0)
}

async fn migrate(db: &TestDb, version: &str) {
    for _ in 0..10 {
        let conn = db.connect().await.unwrap();
        match migration::run_up_to(conn, version).await {
            Ok(applied) => return assert_eq!(applied, [version]),
            Err(MigrationError::Locked { .. }) => {}
            Err(error) => panic!("{version}: {error}"),
        }
    }
    panic!("{version} never got its locks");
}

async fn judge(db: &TestDb, version: &str, journals: Vec<Journal>) {
    if migration::check(&mut db.connect().await.unwrap())
        .await
        .is_err()
    {
        return;
    }
    let mut rules = Rules::new(EVERY_SECOND);
    rules.still_claimed = StillClaimed::Violation;
    rules.claimed = Some(Vec::new());
    for journal in journals {
        rules.claimed.as_mut().unwrap().extend(journal.claimed);
        rules.acknowledged.extend(journal.ended);
    }
    let knows_intervals = schema_snapshots::of(version)["fail"]
        .parameters
        .iter()
        .any(|parameter| parameter.name == "intervals");
    let audit = audit(db.url(), &rules).await.unwrap();
    let violations = audit.violations.iter().filter(|violation| {
        let unknown = matches!(violation, Violation::WrongInterval { recorded: None, .. });
        knows_intervals || !unknown
    });
    let violations: Vec<String> = violations.map(ToString::to_string).collect();
    assert_eq!(violations, [""; 0], "writers of {version}: {audit}");
    assert!(
        audit.failed > 0 && audit.finished > 0 && audit.expired > 0,
        "{audit}"
    );
}
