//! Metrics and spans: their names, their meaning, and the code that records them.
//!
//! This room imports `db`.
//!
//! Metrics go to the recorder of the [`metrics`] facade, spans to the subscriber of [`tracing`]; without
//! one they cost next to nothing. A component looks its metrics up once, so install the recorder
//! **before** [`Bmdb::connect`](crate::Bmdb::connect). The label `component` is
//! [`Config::component`](crate::Config::component): give each component of a program its own name to
//! distinguish them. The label `processor` has the same value; it is the original's name.
//!
//! Spans carry ids only: no cause, no tag, no statement and no bind value. Act on a machine in
//! [`Work::span`]; the spans of claims, transactions, ends and heartbeats are at debug level.
//!
//! ```
//! # use metrics_util::debugging::DebuggingRecorder;
//! use bmdb_core::telemetry;
//!
//! // Any recorder works, for example the one of metrics-exporter-prometheus.
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

pub(crate) use gauges::keep_gauges;
pub(crate) use meters::{Meters, WorkMeter};
pub(crate) use spans::{claim, end, heartbeat, transaction, work};

use metrics::Unit;

/// Counter: sessions started.
pub const SESSION_STARTED: &str = "bmdb_session_started";
/// Counter: sessions lost.
pub const SESSION_LOST: &str = "bmdb_session_lost";
/// Counter: transactions begun.
pub const TRANSACTION_EXECUTED: &str = "bmdb_transaction_executed";
/// Counter: retries.
pub const TRANSACTION_RETRIED: &str = "bmdb_transaction_retried";
/// Counter: transactions that failed.
pub const TRANSACTION_FAILED: &str = "bmdb_transaction_failed";
/// Counter: machines claimed.
pub const WORK_STARTED: &str = "bmdb_work_started";
/// Counter: attempts ended, by result.
pub const WORK_FINISHED: &str = "bmdb_work_finished";
/// Counter: finishes after which the machine rests.
pub const WORK_UNPRODUCTIVE: &str = "bmdb_work_unproductive";
/// Counter: attempts that failed because of the host.
pub const WORK_HOST_FAILED: &str = "bmdb_work_host_failed";
/// Histogram: how long machines were claimed.
pub const WORK_DURATION: &str = "bmdb_work_duration_seconds";
/// Histogram: how long transactions took.
pub const TRANSACTION_DURATION: &str = "bmdb_transaction_duration_seconds";
/// Histogram: how long claims took.
pub const CLAIM_DURATION: &str = "bmdb_claim_duration_seconds";
/// Gauge: claimed machines.
pub const WORK_HELD: &str = "bmdb_work_held";
/// Gauge: claimed machines whose session is lost.
pub const WORK_LOST: &str = "bmdb_work_lost";
/// Gauge: time since the last successful heartbeat.
pub const HEARTBEAT_AGE: &str = "bmdb_heartbeat_age_seconds";
/// Gauge: size limit of the pool.
pub const POOL_SIZE: &str = "bmdb_pool_size";
/// Gauge: connections in use.
pub const POOL_IN_USE: &str = "bmdb_pool_in_use";
/// Gauge: operations waiting for a connection.
pub const POOL_WAITING: &str = "bmdb_pool_waiting";

/// Upper bounds for the buckets of the histograms, in seconds: from a statement on a local network to the
/// installation of a machine that takes all day. For exporters that need them, such as
/// `PrometheusBuilder::set_buckets`.
pub const DURATION_BUCKETS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 60.0, 300.0,
    1_800.0, 7_200.0, 43_200.0,
];

/// The kind of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Never decreases.
    Counter,
    /// Increases and decreases.
    Gauge,
    /// A distribution, in seconds.
    Histogram,
}

/// A metric of this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metric {
    /// The metric's name.
    pub name: &'static str,
    /// The metric's kind.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// Its meaning.
    pub help: &'static str,
}

impl Metric {
    /// A metric of the caller's own, to be listed beside those of this crate.
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

const COMPONENT: &[&str] = &["component", "processor"];
const PROCESS: &[&str] = &["component", "processor", "process"];
const RESULT: &[&str] = &["component", "processor", "process", "result"];

/// Every metric of this crate.
pub const METRICS: [Metric; 18] = [
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
        "Sessions lost: found expired, or without a successful heartbeat in time",
    ),
    Metric::new(
        TRANSACTION_EXECUTED,
        Kind::Counter,
        COMPONENT,
        "Transactions begun: those with a closure, reads without a session, and claims, most of which are empty polls",
    ),
    Metric::new(
        TRANSACTION_RETRIED,
        Kind::Counter,
        COMPONENT,
        "Retries after losing against a concurrent transaction or after a lost answer",
    ),
    Metric::new(
        TRANSACTION_FAILED,
        Kind::Counter,
        COMPONENT,
        "Transactions that failed with an error; an empty poll does not count",
    ),
    Metric::new(WORK_STARTED, Kind::Counter, PROCESS, "Machines claimed"),
    Metric::new(
        WORK_FINISHED,
        Kind::Counter,
        RESULT,
        "Attempts ended; result is finished, failed, canceled or lost (the session expired, or an operator ended the attempt)",
    ),
    Metric::new(
        WORK_UNPRODUCTIVE,
        Kind::Counter,
        PROCESS,
        "Attempts that finished and whose machine rests, because it was still due or is finished again and again",
    ),
    Metric::new(
        WORK_HOST_FAILED,
        Kind::Counter,
        PROCESS,
        "Attempts that were canceled because the host could not make them; their loop waits before it claims again",
    ),
    Metric::new(
        WORK_DURATION,
        Kind::Histogram,
        RESULT,
        "How long machines were claimed, from the answer to the claim to the answer to the end",
    ),
    Metric::new(
        TRANSACTION_DURATION,
        Kind::Histogram,
        COMPONENT,
        "How long transactions with a closure and reads without a session took, including retries",
    ),
    Metric::new(
        CLAIM_DURATION,
        Kind::Histogram,
        PROCESS,
        "How long claims took, including empty polls and retries",
    ),
    Metric::new(
        WORK_HELD,
        Kind::Gauge,
        PROCESS,
        "Machines claimed by the program",
    ),
    Metric::new(
        WORK_LOST,
        Kind::Gauge,
        PROCESS,
        "Machines claimed by the program whose session is lost: another program may be working on them",
    ),
    Metric::new(
        HEARTBEAT_AGE,
        Kind::Gauge,
        COMPONENT,
        "Time since the last successful heartbeat was sent, of the session for which it is longest; 0 without a session",
    ),
    Metric::new(
        POOL_SIZE,
        Kind::Gauge,
        COMPONENT,
        "Size limit of the connection pool",
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

/// Describes the metrics to the current recorder. Call it once per program, after installing the recorder.
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
