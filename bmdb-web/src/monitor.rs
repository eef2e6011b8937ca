//! Monitor: the routes `/metrics`, `/healthz` and `/readyz`.

use crate::health::{Readiness, Ready};
use crate::metrics::{self, server};
use crate::sampler::Sampler;
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

/// How often the recorder sorts recorded values into the buckets of histograms. Until then it keeps every
/// value in memory.
const DRAIN_PERIOD: Duration = Duration::from_secs(5);

/// The routes `/metrics`, `/healthz` and `/readyz`. Each part is optional: a control loop has its own
/// metrics, but no fleet to count.
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
    /// Dropped with the routes, which ends the task that drains the recorder.
    routes: Arc<()>,
}

impl Monitor {
    /// A monitor without metrics.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Installs a recorder for this program's metrics, and shows them. Call it before
    /// [`Bmdb::connect`](bmdb_core::Bmdb::connect).
    ///
    /// # Errors
    /// [`RecorderInstalled`].
    pub fn of_this_program() -> Result<Self, RecorderInstalled> {
        let recorder = PrometheusBuilder::new()
            .set_buckets(&telemetry::DURATION_BUCKETS)
            // It only refuses an empty list.
            .map_err(|_| RecorderInstalled)?;
        let recorded = recorder.install_recorder().map_err(|_| RecorderInstalled)?;
        telemetry::describe_metrics();
        server::describe();
        Ok(Self::new().program(recorded))
    }

    /// Shows the program's own metrics ([`bmdb_core::telemetry`]).
    #[must_use]
    pub fn program(self, recorded: PrometheusHandle) -> Self {
        Self {
            program: Some(recorded),
            ..self
        }
    }

    /// Shows the gauges of the fleet ([`console_metrics`](crate::console_metrics)).
    #[must_use]
    pub fn fleet(self, sampler: Sampler) -> Self {
        Self {
            fleet: Some(sampler),
            ..self
        }
    }

    /// Adds `/readyz`: ready while this reader's database answers and has a schema that fits.
    #[must_use]
    pub fn ready_with(self, reader: Reader) -> Self {
        Self {
            readiness: Some(Readiness::of(reader)),
            ..self
        }
    }

    /// The routes. In a tokio runtime it also spawns a task that drains the recorder of
    /// [`Monitor::program`] every 5 s, until the routes are dropped.
    ///
    /// `/healthz` always succeeds. `/readyz`, which needs [`Monitor::ready_with`], checks the database at
    /// most once a second, and takes at most two seconds.
    pub fn router(self) -> Router {
        if let (Some(recorded), Ok(runtime)) = (&self.program, Handle::try_current()) {
            runtime.spawn(drain(recorded.clone(), Arc::downgrade(&self.routes)));
        }
        let mut routes = Router::new()
            .route("/metrics", get(show))
            .route("/healthz", get(async || "ok\n"));
        if let Some(readiness) = self.readiness.clone() {
            let ready = async move || -> Ready { readiness.now().await };
            routes = routes.route("/readyz", get(ready));
        }
        routes.with_state(self)
    }
}

/// A recorder of metrics is already installed in this program: pass its handle to [`Monitor::program`].
#[derive(Debug, thiserror::Error)]
#[error("a recorder of metrics is already installed in this program")]
pub struct RecorderInstalled;

/// Runs until the routes are dropped. Draining a recorder twice, here and where it was installed, is safe.
async fn drain(recorded: PrometheusHandle, routes: Weak<()>) {
    while routes.strong_count() > 0 {
        recorded.run_upkeep();
        tokio::time::sleep(DRAIN_PERIOD).await;
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
    ([(CONTENT_TYPE, TEXT)], metrics::escape_values(&text)).into_response()
}
