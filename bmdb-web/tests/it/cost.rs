//! What whole pages cost: the buffers of the tables and their indexes that a request touches, in a fleet
//! of a hundred thousand machines.

use crate::large::{MACHINE, SESSION, statements};
use crate::scenario::{ask, console, links};
use axum::http::{Method, StatusCode};
use bmdb_testkit::{Template, TestDb};
use bmdb_web::ConsoleOptions;

/// How many buffers of tables and indexes were asked for so far. The catalogs, which are as large in any
/// fleet, are not among them, and nobody but the console reads: the fleet is not vacuumed.
async fn buffers(db: &TestDb) -> i64 {
    let told = "SELECT sum(heap_blks_hit + heap_blks_read
                           + coalesce(idx_blks_hit + idx_blks_read, 0)
                           + coalesce(toast_blks_hit + toast_blks_read, 0)
                           + coalesce(tidx_blks_hit + tidx_blks_read, 0))
                FROM pg_statio_user_tables";
    // Who has asked tells it at the end.
    let asking = "SELECT count(*) FROM pg_stat_activity
                  WHERE datname = current_database() AND pid <> pg_backend_pid()
                    AND backend_type = 'client backend'";
    while db.rows(asking).await.unwrap() != ["0"] {}
    db.rows(told).await.unwrap()[0].parse().unwrap()
}

/// What a page costs. A console's first request reads the schema as well, so that is taken away.
async fn cost_of(db: &TestDb, page: &str) -> i64 {
    let mut told = Vec::new();
    for times in [1, 4] {
        let before = buffers(db).await;
        let router = console(db, ConsoleOptions::default()).await.router();
        for _ in 0..times {
            let answer = ask(&router, Method::GET, page).await;
            let heading = answer.heading();
            assert_eq!(answer.status, StatusCode::OK, "{page}: {heading}");
        }
        drop(router);
        told.push(buffers(db).await - before);
    }
    (told[1] - told[0]) / 3
}

/// Where the first page of a list that is longer leads.
async fn later(db: &TestDb, page: &str) -> String {
    let router = console(db, ConsoleOptions::default()).await.router();
    let answer = ask(&router, Method::GET, page).await;
    let start = format!("{page}?after=");
    let mut links = links(&answer.text).into_iter();
    links.find(|link| link.starts_with(&start)).unwrap()
}

#[tokio::test]
async fn every_page_touches_a_bounded_number_of_buffers_in_a_fleet_of_a_hundred_thousand() {
    let fleet = statements(100_000, 1).into_iter();
    let template = fleet.fold(Template::new(), Template::sql);
    let db = template.database().await.unwrap();
    let process = "process=ShepherdAgentStart";
    // Fifty rows, each found by a way or two down an index.
    let list = 400;
    // Besides, what is known of each machine.
    let fleet = 1_500;
    // Candidates that are looked at before a page is full: two thousand, and what is asked of each.
    let window = 9_000;
    // Of the last attempts five thousand, to be put in order; of the machine as it is now a thousand for
    // the gates, and the same for the intervals of its backoffs.
    let (history, now) = (5_300, 2_200);
    let machine = format!("/machines/{MACHINE}");
    let session = format!("/sessions/{SESSION}");
    for (page, most) in [
        // Of each process, of two hundred components that have not been added up yet, of what is held.
        ("/".to_owned(), 2_000),
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
        ("/sessions".to_owned(), list),
        (later(&db, &session).await, list),
        // What it holds, what it did and what was done to it: three lists.
        (session, 3 * list),
        // What is held is put in order, up to ten thousand items.
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
