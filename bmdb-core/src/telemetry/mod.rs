//! Metrics and spans: their names, what they mean, and everything that records them.
//!
//! Metrics go to the recorder of the [`metrics`] facade, spans to the subscriber of [`tracing`]; without
//! one they cost next to nothing. A component looks its metrics up once, so install the recorder
//! **before** [`Bmdb::connect`](crate::Bmdb::connect). The label `processor` is
//! [`Config::component`](crate::Config::component): components of one program that are to be told apart
//! need names of their own.
//!
//! Spans carry ids only: no cause, no tag, no statement and no bind value. [`Work::span`] is the one to
//! act on a machine in; those of claims, transactions, ends and heartbeats are at debug level.
//!
//! ```
//! # use metrics_util::debugging::DebuggingRecorder;
//! use bmdb_core::telemetry;
//!
//! // Any recorder will do, such as the one of metrics-exporter-prometheus.
//! let recorder = DebuggingRecorder::new();
//! let metrics = recorder.snapshotter();
//! metrics::with_local_recorder(&recorder, telemetry::describe_metrics);
//! let sessions = metrics.snapshot().into_vec();
//! # assert!(sessions.is_empty(), "only described so far");
//! assert!(telemetry::METRICS.iter().any(|metric| metric.name == telemetry::SESSION_STARTED));
//! ```
//!
//! [`Work::span`]: crate::Work::span

pub(crate) mod attempt_counts;
mod gauges;
mod meters;
mod spans;

pub(crate) use gauges::keep;
pub(crate) use meters::{Held, Meters};
pub(crate) use spans::{claim, end, heartbeat, transaction, work};

use metrics::Unit;

/// Counter: sessions started.
pub const SESSION_STARTED: &str = "bmdb_session_started";
/// Counter: sessions lost.
pub const SESSION_LOST: &str = "bmdb_session_lost";
/// Counter: transactions begun.
pub const TRANSACTION_EXECUTED: &str = "bmdb_transaction_executed";
/// Counter: further tries.
pub const TRANSACTION_RETRIED: &str = "bmdb_transaction_retried";
/// Counter: transactions given up.
pub const TRANSACTION_FAILED: &str = "bmdb_transaction_failed";
/// Counter: works claimed.
pub const WORK_STARTED: &str = "bmdb_work_started";
/// Counter: works ended, by result.
pub const WORK_FINISHED: &str = "bmdb_work_finished";
/// Histogram: how long works were held.
pub const WORK_DURATION: &str = "bmdb_work_duration_seconds";
/// Histogram: how long transactions took.
pub const TRANSACTION_DURATION: &str = "bmdb_transaction_duration_seconds";
/// Histogram: how long claims took.
pub const CLAIM_DURATION: &str = "bmdb_claim_duration_seconds";
/// Gauge: works in hand.
pub const WORK_HELD: &str = "bmdb_work_held";
/// Gauge: works in hand whose session is lost.
pub const WORK_LOST: &str = "bmdb_work_lost";
/// Gauge: how long the last good heartbeat is ago.
pub const HEARTBEAT_AGE: &str = "bmdb_heartbeat_age_seconds";
/// Gauge: connections that the pool may have.
pub const POOL_SIZE: &str = "bmdb_pool_size";
/// Gauge: connections in use.
pub const POOL_IN_USE: &str = "bmdb_pool_in_use";
/// Gauge: operations waiting for a connection.
pub const POOL_WAITING: &str = "bmdb_pool_waiting";

/// Upper bounds for the buckets of the histograms, in seconds: from a statement on a local network to a
/// machine that is installed all day. For exporters that want to be told, such as
/// `PrometheusBuilder::set_buckets`.
pub const DURATION_BUCKETS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0,
    1_800.0, 7_200.0, 43_200.0,
];

/// What kind of number a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A distribution, in seconds.
    Histogram,
}

/// A metric of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
}

impl Metric {
    /// A metric of one's own, to be listed beside those of this crate.
    #[must_use]
    pub const fn new(
        name: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind,
            labels,
            help,
        }
    }
}

const COMPONENT: &[&str] = &["processor"];
const PROCESS: &[&str] = &["processor", "process"];
const RESULT: &[&str] = &["processor", "process", "result"];

/// Every metric of this crate.
pub const METRICS: [Metric; 16] = [
    Metric::new(
        SESSION_STARTED,
        Kind::Counter,
        COMPONENT,
        "Sessions started",
    ),
    Metric::new(
        SESSION_LOST,
        Kind::Counter,
        COMPONENT,
        "Sessions lost: they were found expired, or no heartbeat went through in time",
    ),
    Metric::new(
        TRANSACTION_EXECUTED,
        Kind::Counter,
        COMPONENT,
        "Transactions begun: those with a closure, reads without a session, and claims, of which polls in vain are most",
    ),
    Metric::new(
        TRANSACTION_RETRIED,
        Kind::Counter,
        COMPONENT,
        "Further tries, after losing against a concurrent transaction or after an answer that was lost",
    ),
    Metric::new(
        TRANSACTION_FAILED,
        Kind::Counter,
        COMPONENT,
        "Transactions given up with an error; a poll that finds nothing to do is none",
    ),
    Metric::new(WORK_STARTED, Kind::Counter, PROCESS, "Works claimed"),
    Metric::new(
        WORK_FINISHED,
        Kind::Counter,
        RESULT,
        "Works ended; result is finished, failed, canceled or lost: the session expired, or somebody else ended the work",
    ),
    Metric::new(
        WORK_DURATION,
        Kind::Histogram,
        RESULT,
        "How long works were held, from the claim's answer to the end's",
    ),
    Metric::new(
        TRANSACTION_DURATION,
        Kind::Histogram,
        COMPONENT,
        "How long transactions with a closure and reads without a session took, all tries together",
    ),
    Metric::new(
        CLAIM_DURATION,
        Kind::Histogram,
        PROCESS,
        "How long claims took, polls in vain included, all tries together",
    ),
    Metric::new(
        WORK_HELD,
        Kind::Gauge,
        PROCESS,
        "Works in the program's hands",
    ),
    Metric::new(
        WORK_LOST,
        Kind::Gauge,
        PROCESS,
        "Works in the program's hands whose session is lost: others may be at work on their machines",
    ),
    Metric::new(
        HEARTBEAT_AGE,
        Kind::Gauge,
        COMPONENT,
        "How long ago the last good heartbeat was sent, of the session for which that is longest; 0 without a session",
    ),
    Metric::new(
        POOL_SIZE,
        Kind::Gauge,
        COMPONENT,
        "Connections that the pool may have",
    ),
    Metric::new(
        POOL_IN_USE,
        Kind::Gauge,
        COMPONENT,
        "Connections of the pool in use",
    ),
    Metric::new(
        POOL_WAITING,
        Kind::Gauge,
        COMPONENT,
        "Operations waiting for a connection of the pool",
    ),
];

/// Tells the current recorder what the metrics mean. Once per program, after the recorder was installed.
pub fn describe_metrics() {
    for Metric {
        name, kind, help, ..
    } in METRICS
    {
        match kind {
            Kind::Counter => metrics::describe_counter!(name, help),
            Kind::Gauge => metrics::describe_gauge!(name, help),
            Kind::Histogram => metrics::describe_histogram!(name, Unit::Seconds, help),
        }
    }
}
