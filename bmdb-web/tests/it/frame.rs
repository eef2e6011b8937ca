//! Layout, static files and errors, which all pages share.

use crate::scenario::{Scenario, ask, console};
use axum::Router;
use axum::http::{Method, StatusCode};
use bmdb_core::{Config, Reader};
use bmdb_testkit::{Proxy, TestDb};
use bmdb_web::{Console, ConsoleOptions};
use diesel_async::SimpleAsyncConnection;
use std::time::Duration;

fn attribute<'a>(text: &'a str, before: &str) -> &'a str {
    let value = text.split(before).nth(1).expect(before);
    value.split('"').next().unwrap()
}

#[tokio::test]
async fn a_page_has_title_language_landmarks_and_a_skip_link() {
    let s = Scenario::new().await;
    let page = s.page("/machines").await;
    for part in [
        "<html lang=\"en\">",
        "<title>Machines · bmdb</title>",
        "name=\"viewport\"",
        "<a class=\"skip\" href=\"#main\">",
        "<main id=\"main\"",
        "<nav aria-label=\"Pages\">",
        "href=\"/machines\" aria-current=\"true\"",
        "<footer",
        "by the database's clock",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
}

#[tokio::test]
async fn static_files_are_immutable_and_named_by_their_contents() {
    let s = Scenario::new().await;
    let page = s.page("/machines").await;
    let sheet = attribute(&page, "rel=\"stylesheet\" href=\"");
    let script = attribute(&page, "<script src=\"");
    for (address, kind) in [(sheet, "text/css"), (script, "text/javascript")] {
        let answer = s.ask(Method::GET, address).await;
        assert_eq!(answer.status, StatusCode::OK, "{address}");
        assert!(
            answer.headers["content-type"]
                .to_str()
                .unwrap()
                .starts_with(kind)
        );
        assert!(
            answer.headers["cache-control"]
                .to_str()
                .unwrap()
                .contains("immutable")
        );
    }
    let other = s.get("/assets/0000000000000000.css").await;
    assert_eq!(other.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn pages_are_never_cached() {
    let s = Scenario::new().await;
    let answer = s.get("/machines").await;
    assert_eq!(answer.headers["cache-control"], "no-store");
}

#[tokio::test]
async fn head_is_answered_like_get_without_a_body() {
    let s = Scenario::new().await;
    let answer = s.ask(Method::HEAD, "/machines").await;
    assert_eq!((answer.status, answer.text.as_str()), (StatusCode::OK, ""));
}

#[tokio::test]
async fn an_unknown_address_answers_404_with_a_page() {
    let s = Scenario::new().await;
    let answer = s.get("/nothing/here").await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.text.contains("There is no such page."));
    assert!(answer.text.contains("<nav aria-label=\"Pages\">"));
}

#[tokio::test]
async fn methods_that_write_are_refused() {
    let s = Scenario::new().await;
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
        let answer = s.ask(method, "/machines").await;
        assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
        assert!(answer.headers.contains_key("allow"));
        assert!(answer.text.contains("read-only"));
    }
}

#[tokio::test]
async fn all_links_of_a_nested_console_stay_below_its_path() {
    let db = TestDb::new().await.unwrap();
    db.machine().create().await.unwrap();
    let options = ConsoleOptions {
        base_path: "/fleet/".to_owned(),
        ..ConsoleOptions::default()
    };
    let console = console(&db, options).await;
    let app = Router::new().nest("/fleet", console.router());
    let answer = ask(&app, Method::GET, "/fleet/machines").await;
    assert_eq!(answer.status, StatusCode::OK);
    for link in answer.text.split("href=\"").skip(1) {
        assert!(
            link.starts_with("/fleet/") || link.starts_with("#main"),
            "{link:.40}"
        );
    }
}

#[tokio::test]
async fn an_unavailable_database_answers_503_with_advice() {
    let db = TestDb::new().await.unwrap();
    let proxy = Proxy::unix(db.url()).await.unwrap();
    let mut config = Config::new(proxy.url()).pool_size(1);
    config.connect_timeout = Duration::from_millis(500);
    let reader = Reader::connect(config).await.unwrap();
    let router = Console::new(reader, ConsoleOptions::default()).router();
    proxy.refuse();
    let answer = ask(&router, Method::GET, "/machines").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(answer.text.contains("check that the server runs"));
}

#[tokio::test]
async fn a_locked_table_answers_503_with_advice() {
    let db = TestDb::new().await.unwrap();
    let mut config = Config::new(db.url()).pool_size(1);
    config.lock_timeout = Duration::from_millis(100);
    let reader = Reader::connect(config).await.unwrap();
    let router = Console::new(reader, ConsoleOptions::default()).router();
    let mut migrator = db.connect().await.unwrap();
    let lock = "BEGIN; LOCK TABLE machines";
    migrator.batch_execute(lock).await.unwrap();
    let answer = ask(&router, Method::GET, "/machines").await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer.text.contains("migration may be running"),
        "{}",
        answer.text
    );
}
