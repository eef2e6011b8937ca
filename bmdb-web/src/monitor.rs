//! What other programs ask this one: its metrics, and whether it is well.

use crate::health::Readiness;
use crate::metrics::{self, server};
use crate::sample::Sampler;
use axum::Router;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bmdb_core::{Reader, telemetry};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::runtime::Handle;

/// Prometheus's text format.
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often what histograms have recorded is sorted into their buckets, whether anybody asks or not:
/// until then each value is kept.
const UPKEEP: Duration = Duration::from_secs(5);

/// The routes `/metrics`, `/healthz` and `/readyz`. Each part may be left out: a control loop has metrics
/// of its own and no fleet to count.
///
/// ```
/// use bmdb_web::Monitor;
///
/// let monitor = Monitor::of_this_program()?;
/// // Then `Bmdb::connect`, and in an axum application:
/// let routes: axum::Router = monitor.router();
/// # drop(routes);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Monitor {
    program: Option<PrometheusHandle>,
    fleet: Option<Sampler>,
    readiness: Option<Readiness>,
    /// Kept by the routes.
    routes: Arc<()>,
}

impl Monitor {
    /// Shows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Records this program's metrics from here on, and shows them. Call it before
    /// [`Bmdb::connect`](bmdb_core::Bmdb::connect).
    ///
    /// # Errors
    /// [`RecorderInstalled`].
    pub fn of_this_program() -> Result<Self, RecorderInstalled> {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&telemetry::DURATION_BUCKETS)
            // It refuses none at all only.
            .map_err(|_| RecorderInstalled)?;
        let recorded = recorder.install_recorder().map_err(|_| RecorderInstalled)?;
        telemetry::describe_metrics();
        server::describe();
        Ok(Self::new().program(recorded))
    }

    /// The same, with the program's own metrics ([`bmdb_core::telemetry`]).
    #[must_use]
    pub fn program(self, recorded: PrometheusHandle) -> Self {
        Self {
            program: Some(recorded),
            ..self
        }
    }

    /// The same, with the gauges of the fleet ([`console_metrics`](crate::console_metrics)).
    #[must_use]
    pub fn fleet(self, sampler: Sampler) -> Self {
        Self {
            fleet: Some(sampler),
            ..self
        }
    }

    /// The same, ready while the database that this reader reads answers and has a schema that fits.
    #[must_use]
    pub fn ready_with(self, reader: Reader) -> Self {
        Self {
            readiness: Some(Readiness::of(reader)),
            ..self
        }
    }

    /// The routes. In a tokio runtime, what histograms record is also sorted while nobody asks for it.
    ///
    /// `/healthz` asks nobody; `/readyz`, which there is with [`Monitor::ready_with`], asks the database
    /// once a second at most, and takes two seconds at most.
    pub fn router(self) -> Router {
        if let (Some(recorded), Ok(runtime)) = (&self.program, Handle::try_current()) {
            runtime.spawn(keep_up(recorded.clone(), Arc::downgrade(&self.routes)));
        }
        let routes = Router::new()
            .route("/metrics", get(show))
            .route("/healthz", get(async || "ok\n"));
        // Whoever does not know says nothing.
        let routes = match self.readiness {
            Some(_) => routes.route("/readyz", get(ready)),
            None => routes,
        };
        routes.with_state(self)
    }
}

/// The program has a recorder of metrics already: pass its handle to [`Monitor::program`].
#[derive(Debug, thiserror::Error)]
#[error("the metrics of this program are recorded already")]
pub struct RecorderInstalled;

/// Until the routes are gone. A recorder of somebody else's may be kept up twice.
async fn keep_up(recorded: PrometheusHandle, gone: Weak<()>) {
    while gone.strong_count() > 0 {
        recorded.run_upkeep();
        tokio::time::sleep(UPKEEP).await;
    }
}

async fn show(State(monitor): State<Monitor>) -> Response {
    let mut text = monitor
        .program
        .map(|program| program.render())
        .unwrap_or_default();
    if let Some(fleet) = monitor.fleet {
        text.push_str(&metrics::render(&fleet.latest()));
    }
    ([(CONTENT_TYPE, TEXT)], text).into_response()
}

async fn ready(State(monitor): State<Monitor>) -> Response {
    let ready = match monitor.readiness {
        Some(readiness) => readiness.now().await,
        None => crate::health::Ready::Yes,
    };
    (
        ready.status(),
        [(CONTENT_TYPE, "application/json")],
        ready.body(),
    )
        .into_response()
}
