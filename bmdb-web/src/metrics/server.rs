//! Metrics of the server: requests, and how long responses took.

use axum::http::StatusCode;
use bmdb_core::telemetry::{Kind, Metric};
use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use std::time::Duration;

const REQUESTS: Metric = Metric::new(
    "bmdb_web_requests",
    Kind::Counter,
    &["code"],
    "Requests to the console and the metrics, by status code; includes refused requests",
);

const DURATION: Metric = Metric::new(
    "bmdb_web_request_duration_seconds",
    Kind::Histogram,
    &[],
    "How long the console and the metrics took to respond",
);

pub(super) const METRICS: [Metric; 2] = [REQUESTS, DURATION];

pub(crate) fn describe() {
    describe_counter!(REQUESTS.name, REQUESTS.help);
    describe_histogram!(DURATION.name, Unit::Seconds, DURATION.help);
}

pub(crate) fn count(status: StatusCode, took: Duration) {
    counter!(REQUESTS.name, "code" => status.as_str().to_owned()).increment(1);
    histogram!(DURATION.name).record(took);
}
