//! Console: the router of the pages, and its options.

use crate::app::App;
use crate::assets::Asset;
use crate::error::HttpError;
use crate::page::{self, Page, layout};
use crate::request::PageRequest;
use crate::sampler::Sampler;
use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, get};
use bmdb_core::Reader;
use std::time::Duration;

/// Options of a [`Console`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleOptions {
    /// The path where the router is nested, such as `/fleet`. Links between pages start with it. The link to
    /// the overview ends with a slash if this does: axum's `nest("/fleet", …)` answers at `/fleet` only,
    /// some proxies at `/fleet/` only. Default: the root.
    pub base_path: String,
    /// How often an open page refreshes itself if the browser runs scripts, in whole seconds. Less than
    /// a second disables it. Default: 5 s.
    pub refresh: Duration,
}

impl Default for ConsoleOptions {
    fn default() -> Self {
        Self {
            base_path: String::new(),
            refresh: Duration::from_secs(5),
        }
    }
}

/// The pages that show a fleet.
#[derive(Debug, Clone)]
pub struct Console {
    app: App,
}

impl Console {
    /// The pages of the database that `reader` reads.
    ///
    /// The reader's `statement_timeout` limits how long a page may take; after that it answers 503.
    #[must_use]
    pub fn new(reader: Reader, options: ConsoleOptions) -> Self {
        Self {
            app: App::new(reader, &options.base_path, options.refresh),
        }
    }

    /// Also shows this sampler's counts of the whole fleet, which take too long to count for a page.
    #[must_use]
    pub fn sampler(mut self, sampler: Sampler) -> Self {
        self.app.sampler = Some(sampler);
        self
    }

    /// The routes. Nest them under [`ConsoleOptions::base_path`], or merge them if it is the root.
    ///
    /// They answer GET and HEAD. Unknown paths below answer 404 with a page.
    pub fn router(&self) -> Router {
        let respond = |error: fn() -> HttpError| {
            async move |State(app): State<App>| layout::respond(&app, error().into_page())
        };
        Router::new()
            .route("/", shown(page::overview::show))
            .route("/machines", shown(page::machines::show))
            .route("/machines/{id}", shown(page::machine::show))
            .route("/processes", shown(page::processes::show))
            .route("/processes/{name}", shown(page::process::show))
            .route("/sessions", shown(page::sessions::show))
            .route("/sessions/{id}", shown(page::session::show))
            .route("/work", shown(page::work::show))
            .route("/backoffs", shown(page::backoffs::show))
            .route("/assets/{file}", get(asset))
            .fallback(respond(HttpError::unknown_page))
            .method_not_allowed_fallback(respond(HttpError::method_not_allowed))
            .with_state(self.app.clone())
    }
}

/// The route of a page. Errors become pages too.
fn shown<H, P>(page: H) -> MethodRouter<App>
where
    H: Fn(App, PageRequest) -> P + Clone + Send + Sync + 'static,
    P: Future<Output = Result<Page, HttpError>> + Send,
{
    get(async move |State(app): State<App>, request: PageRequest| {
        let shown = page(app.clone(), request).await;
        layout::respond(&app, shown.unwrap_or_else(HttpError::into_page))
    })
}

async fn asset(State(app): State<App>, Path(file): Path<String>) -> Response {
    match Asset::find(&file) {
        Some(asset) => asset.into_response(),
        None => layout::respond(&app, HttpError::unknown_page().into_page()),
    }
}
