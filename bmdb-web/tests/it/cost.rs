//! The cost of pages: how many buffers of tables and indexes a request touches, in a fleet of 100,000
//! machines.

use crate::large::{MACHINE, SESSION, statements};
use crate::scenario::{ask, console, links};
use axum::http::{Method, StatusCode};
use bmdb_testkit::{Template, TestDb};
use bmdb_web::ConsoleOptions;

/// How many buffers of tables and indexes were touched so far. System catalogs do not count, because their
/// size does not depend on the fleet. Only the console reads: autovacuum is off.
async fn buffers(db: &TestDb) -> i64 {
    let touched = "SELECT sum(heap_blks_hit + heap_blks_read
                           + coalesce(idx_blks_hit + idx_blks_read, 0)
                           + coalesce(toast_blks_hit + toast_blks_read, 0)
                           + coalesce(tidx_blks_hit + tidx_blks_read, 0))
                FROM pg_statio_user_tables";
    // A session reports its statistics when it ends.
    let others = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()
                    AND backend_type = 'client backend'";
    while db.rows(others).await.unwrap() != ["0"] {}
    db.rows(touched).await.unwrap()[0].parse().unwrap()
}

/// The cost of a page, without that of a console's first request, which also reads the schema.
async fn cost_of(db: &TestDb, page: &str) -> i64 {
    let mut costs = Vec::new();
    for times in [1, 2] {
        let before = buffers(db).await;
        let router = console(db, ConsoleOptions::default()).await.router();
        for _ in 0..times {
            let answer = ask(&router, Method::GET, page).await;
            let heading = answer.heading();
            assert_eq!(answer.status, StatusCode::OK, "{page}: {heading}");
        }
        drop(router);
        costs.push(buffers(db).await - before);
    }
    costs[1] - costs[0]
}

/// The address of a list's second page.
async fn later(db: &TestDb, page: &str) -> String {
    let router = console(db, ConsoleOptions::default()).await.router();
    let answer = ask(&router, Method::GET, page).await;
    let start = format!("{page}?after=");
    let mut links = links(&answer.text).into_iter();
    links.find(|link| link.starts_with(&start)).unwrap()
}

#[tokio::test]
async fn every_page_touches_few_buffers_in_a_fleet_of_100_000_machines() {
    let fleet = statements(100_000, 1).into_iter();
    let template = fleet.fold(Template::new(), Template::sql);
    let db = template.database().await.unwrap();
    let process = "process=ShepherdAgentStart";
    // Fifty rows, each found by one or two index lookups.
    let list = 400;
    // Also the facts of each machine.
    let fleet = 1_500;
    // Up to two thousand candidates are checked before a page is full.
    let window = 9_000;
    // Five thousand to sort the latest attempts; a thousand for the gates of the machine, and a thousand for
    // the intervals of its backoffs.
    let (history, now) = (5_300, 2_200);
    let machine = format!("/machines/{MACHINE}");
    let session = format!("/sessions/{SESSION}");
    for (page, most) in [
        // The processes, the counts of two hundred components, the claimed machines, and five thousand
        // backoffs with their causes.
        ("/".to_owned(), 12_000),
        ("/machines".to_owned(), fleet),
        ("/machines?provider=Equinix".to_owned(), fleet),
        ("/machines?tag=machine_hold".to_owned(), fleet),
        (
            "/machines?tag=machine_hold&provider=Equinix".to_owned(),
            window,
        ),
        ("/machines?prefix=777".to_owned(), fleet),
        (format!("/machines?{process}&state=claimed"), fleet),
        (format!("/machines?{process}&state=backing-off"), fleet),
        (format!("/machines?{process}&state=due"), window),
        (format!("/machines?{process}&state=waiting"), window),
        (later(&db, &machine).await, history),
        (machine, history + now),
        ("/processes".to_owned(), 2_000),
        // Five thousand backoffs with their causes.
        ("/processes/ShepherdAgentStart".to_owned(), 12_000),
        (format!("/machines?{process}&state=paused"), list),
        ("/sessions".to_owned(), list),
        (later(&db, &session).await, list),
        // Three lists: claimed machines, past attempts and operator actions.
        (session, 3 * list),
        // Up to ten thousand claimed machines are sorted.
        ("/work".to_owned(), list),
        (format!("/work?{process}"), list),
        ("/backoffs".to_owned(), list),
        (format!("/backoffs?{process}"), list),
        ("/backoffs?which=expired".to_owned(), list),
        (format!("/backoffs?{process}&which=expired"), list),
    ] {
        let cost = cost_of(&db, &page).await;
        assert!((1..=most).contains(&cost), "{page}: {cost} buffers");
    }
}
