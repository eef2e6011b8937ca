//! Scenarios: a database, the console over it, and the pages that it answers with.

pub(crate) use crate::html::links;

use crate::html;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use bmdb_core::{Config, Reader};
use bmdb_testkit::{Role, TestDb};
use bmdb_web::{Console, ConsoleOptions, SampleOptions, Sampler};
use tower::ServiceExt as _;

pub(crate) struct Scenario {
    pub(crate) db: TestDb,
    router: Router,
}

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

    /// A page that exists and is well-formed.
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

    /// Any answer, checked for what must never be in one.
    pub(crate) async fn get(&self, address: &str) -> Answer {
        let answer = ask(&self.router, Method::GET, address).await;
        answer.check(address);
        answer
    }

    /// The pages of a list, from this address to the last.
    pub(crate) async fn pages(&self, address: &str) -> Vec<String> {
        let mut pages = vec![self.page(address).await];
        while let Some(next) = pages.last().and_then(|page| next(page)) {
            pages.push(self.page(&next).await);
        }
        pages
    }

    pub(crate) async fn ask(&self, method: Method, address: &str) -> Answer {
        ask(&self.router, method, address).await
    }
}

/// The address of a list's next page.
pub(crate) fn next(page: &str) -> Option<String> {
    let (before, _) = page.split_once("rel=\"next\"")?;
    let (_, link) = before.rsplit_once("href=\"")?;
    let (link, _) = link.split_once('"')?;
    Some(link.replace("&amp;", "&"))
}

fn rows(page: &str) -> impl Iterator<Item = &str> {
    page.split("role=\"rowheader\"").skip(1)
}

pub(crate) fn row_counts(pages: &[String]) -> Vec<usize> {
    pages.iter().map(|page| rows(page).count()).collect()
}

/// The id that each row of these pages links to first, below this path.
pub(crate) fn ids(pages: &[String], path: &str) -> Vec<String> {
    let id = |row: &str| row.split(path).nth(1).unwrap()[..36].to_owned();
    pages.iter().flat_map(|page| rows(page)).map(id).collect()
}

pub(crate) async fn console(db: &TestDb, options: ConsoleOptions) -> Console {
    let config = Config::new(db.url()).pool_size(2);
    Console::new(Reader::connect(config).await.unwrap(), options)
}

/// The console of a database user who may only read, with the first sample taken.
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
