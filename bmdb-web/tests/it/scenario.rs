//! The vocabulary of these tests: a database, the console over it, and pages as they come.

pub(crate) use crate::html::links;

use crate::html;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bmdb_core::{Config, Reader};
use bmdb_testkit::{Role, TestDb};
use bmdb_web::{Console, ConsoleOptions, SampleOptions, Sampler};
use tower::ServiceExt as _;

/// A database and the console over it.
pub(crate) struct Scenario {
    pub(crate) db: TestDb,
    router: Router,
}

/// An answer as it came.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Scenario {
    pub(crate) async fn new() -> Self {
        Self::on(TestDb::new().await.unwrap()).await
    }

    pub(crate) async fn on(db: TestDb) -> Self {
        let router = console(&db, ConsoleOptions::default()).await.router();
        Self { db, router }
    }

    /// A page that is there, and sound.
    pub(crate) async fn page(&self, address: &str) -> String {
        let answer = self.get(address).await;
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "{address}: {}",
            answer.heading()
        );
        answer.text
    }

    /// Whatever comes, checked for what no answer may have.
    pub(crate) async fn get(&self, address: &str) -> Answer {
        let answer = ask(&self.router, Method::GET, address).await;
        answer.check(address);
        answer
    }

    pub(crate) async fn ask(&self, method: Method, address: &str) -> Answer {
        ask(&self.router, method, address).await
    }
}

pub(crate) async fn console(db: &TestDb, options: ConsoleOptions) -> Console {
    let config = Config::new(db.url()).pool_size(2);
    Console::new(Reader::connect(config).await.unwrap(), options)
}

/// The console of somebody who may only read, over a fleet that has been counted.
pub(crate) async fn counted(db: &TestDb) -> Router {
    let config = Config::new(db.url_as(Role::Viewer).await.unwrap()).pool_size(1);
    let reader = Reader::connect(config.clone()).await.unwrap();
    let counter = Reader::connect(config).await.unwrap();
    let sampler = Sampler::start(counter, SampleOptions::default());
    sampler.first().await;
    let console = Console::new(reader, ConsoleOptions::default());
    console.sampler(sampler).router()
}

pub(crate) async fn ask(router: &Router, method: Method, address: &str) -> Answer {
    let request = Request::builder()
        .method(method)
        .uri(address)
        .body(Body::empty())
        .unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (head, body) = response.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.unwrap();
    Answer {
        status: head.status,
        headers: head.headers,
        text: String::from_utf8(bytes.to_vec()).unwrap(),
    }
}

impl Answer {
    pub(crate) fn heading(&self) -> &str {
        let heading = self.text.split("<h1>").nth(1).unwrap_or_default();
        heading.split("</h1>").next().unwrap_or_default()
    }

    fn check(&self, address: &str) {
        html::check(&self.text, address);
        assert_ne!(
            self.status,
            StatusCode::INTERNAL_SERVER_ERROR,
            "{address}: {}",
            self.text
        );
    }
}
