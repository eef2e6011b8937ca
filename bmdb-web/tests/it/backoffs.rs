//! Backoffs: in force by when they end, expired, by process, and a page at a time.

use crate::fleet::{self, HOSTILE};
use crate::scenario::Scenario;
use axum::http::StatusCode;

fn rows(page: &str) -> usize {
    page.matches("role=\"rowheader\"").count()
}

#[tokio::test]
async fn no_backoffs_is_a_page_that_teaches() {
    let s = Scenario::new().await;
    let active = s.page("/backoffs").await;
    assert!(active.contains("No machine rests.") && active.contains("--backoff"));
    let expired = s.page("/backoffs?which=expired").await;
    assert!(expired.contains("No backoff has expired."));
    let none = s.page("/backoffs?process=ShepherdRecovery").await;
    assert!(none.contains("No backoff fits these filters."));
}

#[tokio::test]
async fn those_in_force_are_listed_by_when_they_end() {
    let s = Scenario::new().await;
    fleet::seed(&s.db).await.unwrap();
    let page = s.page("/backoffs").await;
    assert_eq!(rows(&page), 7);
    let soonest = page.find("the agent did not answer within 30 s").unwrap();
    let latest = page.find("ssh: handshake failed").unwrap();
    assert!(soonest < latest);
    for part in ["4h", "No route to host", "lost 4 times", "in 10 min"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(!page.contains(HOSTILE) && page.contains("&lt;script&gt;"));
}

#[tokio::test]
async fn those_that_have_expired_are_on_a_list_of_their_own_and_both_by_process() {
    let s = Scenario::new().await;
    fleet::seed(&s.db).await.unwrap();
    let expired = s.page("/backoffs?which=expired").await;
    assert_eq!(rows(&expired), 3);
    assert!(expired.contains("<a href=\"/backoffs?which=expired\" aria-current=\"true\">"));
    let recovery = s.page("/backoffs?process=ShepherdRecovery").await;
    assert_eq!(rows(&recovery), 1);
    assert!(recovery.contains("power cycle did not help"));
    let neither = s
        .page("/backoffs?process=ShepherdRecovery&which=expired")
        .await;
    assert_eq!(rows(&neither), 0);
    assert!(
        neither.contains("name=\"which\" value=\"expired\""),
        "kept by the form"
    );
}

#[tokio::test]
async fn every_backoff_is_on_exactly_one_page() {
    let s = Scenario::new().await;
    s.db.execute(
        "INSERT INTO machines SELECT gen_random_uuid() FROM generate_series(1, 120);
         INSERT INTO work_item (machine_id, process, lane, backoff_until)
         SELECT machine_id, 'Acme', 'acme', date_trunc('day', clock_timestamp()) + interval '3 days'
         FROM machines",
    )
    .await
    .unwrap();
    let (mut address, mut seen) = ("/backoffs".to_owned(), Vec::new());
    for rows in [50, 50, 20] {
        let page = s.page(&address).await;
        let rows_of_page: Vec<&str> = page.split("role=\"rowheader\"").skip(1).collect();
        assert_eq!(rows_of_page.len(), rows);
        let id = |row: &&str| row.split("/machines/").nth(1).unwrap()[..36].to_owned();
        seen.extend(rows_of_page.iter().map(id));
        if let Some(before) = page
            .split("rel=\"next\"")
            .next()
            .filter(|b| b.len() < page.len())
        {
            let start = before.rfind("href=\"").unwrap() + 6;
            address = before[start..].split('"').next().unwrap().to_owned();
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 120);
}

#[tokio::test]
async fn what_is_no_value_of_a_parameter_is_refused_with_the_reason() {
    let s = Scenario::new().await;
    for (query, reason) in [
        ("which=both", "is neither active nor expired"),
        ("after=x", "is not a position in this list"),
        ("process=a%20b", "parameter"),
    ] {
        let answer = s.get(&format!("/backoffs?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.text.contains(reason), "{query}: {}", answer.text);
    }
}
