//! The console as a router, and what can be chosen about it.

use crate::app::App;
use crate::error::Problem;
use crate::page::Page;
use crate::request::Asked;
use crate::sample::Sampler;
use crate::{assets, page};
use axum::Router;
use axum::extract::State;
use axum::routing::{MethodRouter, get};
use bmdb_core::Reader;
use std::time::Duration;

/// What can be chosen about a [`Console`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleOptions {
    /// Where the router is nested, such as `/fleet`, for the pages' links to each other. Default: at
    /// the root.
    pub base_path: String,
    /// How often an open page fetches itself anew where the browser runs scripts. Whole seconds; less
    /// than one means never. Default: 5 s.
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
    /// The reader's `statement_timeout` is how long a page may take; it answers 503 after that.
    #[must_use]
    pub fn new(reader: Reader, options: ConsoleOptions) -> Self {
        Self {
            app: App::new(reader, &options),
        }
    }

    /// The same with counts of the whole fleet, which no page could wait for.
    #[must_use]
    pub fn sampler(self, sampler: Sampler) -> Self {
        Self {
            app: self.app.with_sampler(sampler),
        }
    }

    /// The routes, to be nested under [`ConsoleOptions::base_path`] or, without one, merged.
    ///
    /// They answer GET and HEAD; any other path below is a page that says there is nothing.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/", shown(page::overview::show))
            .route("/machines", shown(page::machines::show))
            .route("/machines/{id}", shown(page::machine::show))
            .route("/sessions", shown(page::sessions::show))
            .route("/sessions/{id}", shown(page::session::show))
            .route("/work", shown(page::work::show))
            .route("/backoffs", shown(page::backoffs::show))
            .route("/assets/{file}", get(assets::serve))
            .fallback(unknown)
            .method_not_allowed_fallback(other_method)
            .with_state(self.app.clone())
    }
}

/// The route of a page: every problem becomes a page as well.
fn shown<H, P>(page: H) -> MethodRouter<App>
where
    H: Fn(App, Asked) -> P + Clone + Send + Sync + 'static,
    P: Future<Output = Result<Page, Problem>> + Send,
{
    get(async move |State(app): State<App>, asked: Asked| {
        let shown = page(app.clone(), asked).await;
        app.render(shown)
    })
}

async fn unknown(State(app): State<App>) -> axum::response::Response {
    app.render(Err(Problem::no_page()))
}

async fn other_method(State(app): State<App>) -> axum::response::Response {
    app.render(Err(Problem::only_get()))
}
