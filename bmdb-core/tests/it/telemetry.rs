//! Metrics and spans: their names, values and contents.

mod spans;

use crate::scenario::{RETRY, Scenario, connect, work_access};
use bmdb_core::telemetry::{self, METRICS};
use bmdb_core::{Bmdb, Claim, Config, Reader, SessionOptions, Tx, TxError, WorkError};
use bmdb_model::Process;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

const START: Process = Process::SHEPHERD_AGENT_START;

/// The recorded metrics.
struct Recorded(Snapshotter);

impl Recorded {
    /// Values by name and labels, as Prometheus writes them; of a histogram, the number of values. Resets them.
    fn take(&self) -> BTreeMap<String, f64> {
        let mut taken = BTreeMap::new();
        for (key, _, _, value) in self.0.snapshot().into_vec() {
            let key = key.key();
            let labels: Vec<String> = key
                .labels()
                .map(|label| format!("{}={}", label.key(), label.value()))
                .collect();
            let value = match value {
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                DebugValue::Histogram(values) => values.len() as f64,
            };
            taken.insert(format!("{}{{{}}}", key.name(), labels.join(",")), value);
        }
        taken
    }
}

/// Runs a test with its own recorder, on one thread, so that its tasks are recorded there too.
fn recorded(test: impl AsyncFnOnce(&Recorded)) {
    let recorder = DebuggingRecorder::new();
    let recorded = Recorded(recorder.snapshotter());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || runtime.block_on(test(&recorded)));
}

/// A scenario's component is called `test`.
fn of_component(name: &str) -> String {
    format!("{name}{{component=test,processor=test}}")
}

fn of_process(name: &str, process: &Process) -> String {
    format!("{name}{{component=test,processor=test,process={process}}}")
}

fn of_result(name: &str, result: &str) -> String {
    format!("{name}{{component=test,processor=test,process={START},result={result}}}")
}

#[test]
fn an_empty_poll_counts_as_a_transaction_but_not_as_a_failed_one() {
    recorded(async |recorded| {
        let s = Scenario::new().await;
        let idle = s.session.claim(&Claim::of(&START)).await.unwrap();
        assert!(idle.is_empty());
        let recovery = Claim::of(&Process::SHEPHERD_RECOVERY);
        assert!(s.session.claim(&recovery).await.unwrap().is_empty());
        let nothing = work_access(&s.session).await.unwrap_err();
        assert!(matches!(nothing, WorkError::NothingToDo));
        let taken = recorded.take();
        assert_eq!(taken[&of_component(telemetry::SESSION_STARTED)], 1.0);
        assert_eq!(taken[&of_component(telemetry::TRANSACTION_EXECUTED)], 3.0);
        assert_eq!(taken[&of_component(telemetry::TRANSACTION_FAILED)], 0.0);
        assert_eq!(taken[&of_component(telemetry::TRANSACTION_RETRIED)], 0.0);
        assert_eq!(taken[&of_component(telemetry::TRANSACTION_DURATION)], 1.0);
        for process in [START, Process::SHEPHERD_RECOVERY] {
            assert_eq!(taken[&of_process(telemetry::CLAIM_DURATION, &process)], 1.0);
            assert_eq!(taken[&of_process(telemetry::WORK_STARTED, &process)], 0.0);
        }
    });
}

#[test]
fn each_attempt_is_counted_once_by_its_result() {
    recorded(async |recorded| {
        let s = Scenario::new().await;
        for id in 0..7 {
            s.provided(&id.to_string()).await;
        }
        let claim = Claim::of(&START).limit(7);
        let mut claimed = s.session.claim(&claim).await.unwrap();
        assert_eq!(claimed.len(), 7);
        let mut next = || claimed.pop().unwrap();
        next().finish(async |_| Ok(())).await.unwrap();
        next().complete().await.unwrap();
        next().fail(&RETRY, "no answer").await.unwrap();
        next().cancel().await.unwrap();
        for ended in s.session.cancel_all([next()]).await {
            ended.unwrap();
        }
        drop(next());
        let (left, machine) = (
            next(),
            "SELECT count(*) FROM work_item WHERE session_id IS NOT NULL",
        );
        s.db.expire(s.session.id()).await.unwrap();
        s.bmdb.reclaim_expired().await.unwrap();
        assert_eq!(s.rows(machine).await, ["0"]);
        left.fail(&RETRY, "too late").await.unwrap_err();
        let taken = recorded.take();
        assert_eq!(taken[&of_process(telemetry::WORK_STARTED, &START)], 7.0);
        assert_eq!(taken[&of_process(telemetry::WORK_HELD, &START)], 0.0);
        for (result, count) in [
            ("finished", 2.0),
            ("failed", 1.0),
            ("canceled", 3.0),
            ("lost", 1.0),
        ] {
            assert_eq!(
                taken[&of_result(telemetry::WORK_FINISHED, result)],
                count,
                "{result}"
            );
            assert_eq!(
                taken[&of_result(telemetry::WORK_DURATION, result)],
                count,
                "{result}"
            );
        }
    });
}

#[test]
fn an_end_that_returns_the_work_is_not_counted() {
    recorded(async |recorded| {
        let s = Scenario::new().await;
        s.provided("1").await;
        s.refuse_cause("refused").await;
        let refused = s
            .claim_one()
            .await
            .fail(&RETRY, "refused")
            .await
            .unwrap_err();
        refused
            .into_work()
            .unwrap()
            .fail(&RETRY, "no answer")
            .await
            .unwrap();
        let taken = recorded.take();
        assert_eq!(taken[&of_result(telemetry::WORK_FINISHED, "failed")], 1.0);
        assert_eq!(taken[&of_result(telemetry::WORK_FINISHED, "canceled")], 0.0);
        assert_eq!(taken[&of_process(telemetry::WORK_HELD, &START)], 0.0);
    });
}

#[test]
fn retries_and_failed_transactions_are_counted() {
    recorded(async |recorded| {
        let s = Scenario::new().await;
        let runs = AtomicU32::new(0);
        let conflicts = s.session.transact(async |tx: &mut Tx<'_>| {
            if runs.fetch_add(1, Ordering::Relaxed) < 2 {
                let conflict = diesel::sql_query("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$");
                diesel_async::RunQueryDsl::execute(conflict, &mut **tx).await?;
            }
            Ok(())
        });
        conflicts.await.unwrap();
        let given_up = s
            .session
            .transact(async |_| Err::<(), _>(TxError::abort("enough")));
        given_up.await.unwrap_err();
        let taken = recorded.take();
        assert_eq!(taken[&of_component(telemetry::TRANSACTION_EXECUTED)], 2.0);
        assert_eq!(taken[&of_component(telemetry::TRANSACTION_RETRIED)], 2.0);
        assert_eq!(taken[&of_component(telemetry::TRANSACTION_FAILED)], 1.0);
        assert_eq!(taken[&of_component(telemetry::TRANSACTION_DURATION)], 2.0);
    });
}

#[test]
fn reads_without_a_session_count_as_transactions() {
    recorded(async |recorded| {
        let db = bmdb_testkit::TestDb::new().await.unwrap();
        let config = Config::new(db.url()).component("test");
        let reader = Reader::connect(config).await.unwrap();
        reader.read(async |_| Ok(())).await.unwrap();
        let given_up = reader.read(async |_| Err::<(), _>(TxError::abort("enough")));
        given_up.await.unwrap_err();
        let taken = recorded.take();
        assert_eq!(taken[&of_component(telemetry::TRANSACTION_EXECUTED)], 2.0);
        assert_eq!(taken[&of_component(telemetry::TRANSACTION_FAILED)], 1.0);
        assert_eq!(taken[&of_component(telemetry::SESSION_STARTED)], 0.0);
    });
}

#[test]
fn an_operation_refused_before_it_begins_is_not_counted() {
    recorded(async |recorded| {
        let s = Scenario::new().await;
        s.bmdb.drain(Duration::from_secs(1)).await.unwrap();
        s.session.claim(&Claim::of(&START)).await.unwrap_err();
        work_access(&s.session).await.unwrap_err();
        let taken = recorded.take();
        assert_eq!(taken[&of_component(telemetry::TRANSACTION_EXECUTED)], 0.0);
        assert_eq!(taken[&of_component(telemetry::TRANSACTION_FAILED)], 0.0);
    });
}

#[test]
fn components_of_one_program_are_distinguished() {
    recorded(async |recorded| {
        let s = Scenario::new().await;
        let config = Config::new(s.db.url())
            .component("other")
            .janitor_interval(None);
        let other = Bmdb::connect(config).await.unwrap();
        let session = other
            .start_session(SessionOptions::default())
            .await
            .unwrap();
        session.claim(&Claim::of(&START)).await.unwrap();
        let taken = recorded.take();
        let executed = |component: &str| {
            taken[&format!(
                "{}{{component={component},processor={component}}}",
                telemetry::TRANSACTION_EXECUTED
            )]
        };
        assert_eq!((executed("test"), executed("other")), (0.0, 1.0));
    });
}

#[test]
fn gauges_show_the_pool_the_heartbeat_and_work_of_lost_sessions() {
    recorded(async |recorded| {
        let s = Scenario::new().await;
        s.provided("1").await;
        let work = s.claim_one().await;
        s.db.expire(s.session.id()).await.unwrap();
        work.lost().await;
        let in_a_transaction = s.another_session().await;
        let mut taken = BTreeMap::new();
        let seen = in_a_transaction.transact(async |_| {
            // Two periods of the gauges, so that one of them sees this.
            tokio::time::sleep(Duration::from_millis(1500)).await;
            Ok(recorded.take())
        });
        taken.append(&mut seen.await.unwrap());
        assert_eq!(taken[&of_process(telemetry::WORK_LOST, &START)], 1.0);
        assert_eq!(taken[&of_process(telemetry::WORK_HELD, &START)], 1.0);
        assert_eq!(taken[&of_component(telemetry::POOL_SIZE)], 10.0);
        assert_eq!(taken[&of_component(telemetry::POOL_IN_USE)], 1.0);
        assert_eq!(taken[&of_component(telemetry::POOL_WAITING)], 0.0);
        assert_eq!(taken[&of_component(telemetry::SESSION_LOST)], 1.0);
        let age = taken[&of_component(telemetry::HEARTBEAT_AGE)];
        assert!(age > 0.0 && age < 3.0, "{age}");
    });
}

#[test]
fn the_gauges_of_a_dropped_component_are_zero() {
    recorded(async |recorded| {
        let db = bmdb_testkit::TestDb::new().await.unwrap();
        let bmdb = connect(&db).await;
        tokio::task::yield_now().await;
        drop(bmdb);
        tokio::task::yield_now().await;
        assert_eq!(recorded.take()[&of_component(telemetry::POOL_SIZE)], 0.0);
    });
}

#[test]
fn the_recorded_metrics_are_the_described_ones() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    metrics::with_local_recorder(&recorder, || {
        telemetry::describe_metrics();
        runtime.block_on(async {
            let s = Scenario::new().await;
            s.provided("1").await;
            s.claim_one().await.cancel().await.unwrap();
        });
    });
    let mut recorded = BTreeMap::<String, BTreeSet<Vec<String>>>::new();
    for (key, _, description, _) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        assert!(description.is_some(), "{} is not described", key.name());
        let labels = key.labels().map(|label| label.key().to_owned()).collect();
        recorded
            .entry(key.name().to_owned())
            .or_default()
            .insert(labels);
    }
    let described: BTreeMap<String, BTreeSet<Vec<String>>> = METRICS
        .iter()
        .map(|metric| {
            let labels = metric
                .labels
                .iter()
                .map(|label| (*label).to_owned())
                .collect();
            (metric.name.to_owned(), BTreeSet::from([labels]))
        })
        .collect();
    assert_eq!(recorded, described);
}
