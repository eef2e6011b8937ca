//! Backoffs page: in force and expired, with filters and pages.

use crate::fleet::{self, HOSTILE};
use crate::scenario::{Scenario, ids, row_counts};
use axum::http::StatusCode;

fn rows(page: &str) -> usize {
    page.matches("role=\"rowheader\"").count()
}

#[tokio::test]
async fn without_backoffs_the_page_explains_itself() {
    let s = Scenario::new().await;
    let active = s.page("/backoffs").await;
    assert!(active.contains("No machine is backing off.") && active.contains("--backoff"));
    let expired = s.page("/backoffs?which=expired").await;
    assert!(expired.contains("No backoff has expired."));
    let none = s.page("/backoffs?process=ShepherdRecovery").await;
    assert!(none.contains("No backoffs match these filters."));
}

#[tokio::test]
async fn backoffs_in_force_are_listed_by_their_end() {
    let s = Scenario::new().await;
    fleet::seed(&s.db).await.unwrap();
    let page = s.page("/backoffs").await;
    assert_eq!(rows(&page), 9, "seven after a failure, and two that rest");
    let soonest = page.find("the agent did not answer within 30 s").unwrap();
    let latest = page.find("ssh: handshake failed").unwrap();
    assert!(soonest < latest);
    for part in ["4h", "No route to host", "expired 4 times", "in 10 min"] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(!page.contains(HOSTILE) && page.contains("&lt;script&gt;"));
}

#[tokio::test]
async fn expired_backoffs_have_their_own_list_and_both_filter_by_process() {
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
        "the form keeps it"
    );
}

#[tokio::test]
async fn every_backoff_is_on_exactly_one_page() {
    let s = Scenario::new().await;
    s.db.run_sql(
        "INSERT INTO machines SELECT gen_random_uuid() FROM generate_series(1, 120);
         INSERT INTO work_item (machine_id, process, lane, backoff_until)
         SELECT machine_id, 'Acme', 'acme', date_trunc('day', clock_timestamp()) + interval '3 days'
         FROM machines",
    )
    .await
    .unwrap();
    let pages = s.pages("/backoffs").await;
    assert_eq!(row_counts(&pages), [50, 50, 20]);
    let mut seen = ids(&pages, "/machines/");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 120);
}

#[tokio::test]
async fn invalid_parameters_are_refused_with_the_reason() {
    let s = Scenario::new().await;
    for (query, reason) in [
        ("which=both", "is unknown; expected active or expired"),
        ("after=x", "is not a position in this list"),
        ("process=a%20b", "parameter"),
    ] {
        let answer = s.get(&format!("/backoffs?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.text.contains(reason), "{query}: {}", answer.text);
    }
}
