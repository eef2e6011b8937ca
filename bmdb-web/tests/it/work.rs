//! Work page: claimed machines, the longest first, with filters and pages.

use crate::fleet::{self, HOSTILE};
use crate::scenario::{Scenario, next};
use axum::http::StatusCode;

/// The ids of the machines of the rows, in their order.
fn machines(page: &str) -> Vec<&str> {
    let rows = page.split("role=\"rowheader\"").skip(1);
    let id = |row: &'_ str| -> Option<(usize, usize)> {
        let start = row.find("href=\"/machines/")? + "href=\"/machines/".len();
        Some((start, start + 36))
    };
    rows.filter_map(|row| id(row).and_then(|(start, end)| row.get(start..end)))
        .collect()
}

#[tokio::test]
async fn without_claimed_machines_the_page_explains_itself() {
    let s = Scenario::new().await;
    let page = s.page("/work").await;
    assert!(page.contains("No machine is claimed.") && page.contains("bmdb run --process"));
    let page = s.page("/work?process=ShepherdAgentStart").await;
    assert!(page.contains("No claimed machines match these filters."));
}

#[tokio::test]
async fn the_longest_claimed_machine_comes_first_and_is_marked_as_stuck() {
    let s = Scenario::new().await;
    let seeded = fleet::seed(&s.db).await.unwrap();
    let page = s.page("/work").await;
    let listed = machines(&page);
    assert_eq!(listed.len(), 13);
    assert_eq!(listed[0], seeded.stuck.to_string());
    assert_eq!(page.matches(">stuck</span>").count(), 2);
    for part in [
        "3 h 12 min ago",
        "data-label=\"Waited\"><div><span class=\"length\">4.0 s</span>",
        "320 ms",
        ">expired</span>",
        "expired 2 times",
        "unknown",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(!page.contains(HOSTILE));
}

#[tokio::test]
async fn filters_narrow_and_stay_in_the_form_and_in_the_links() {
    let s = Scenario::new().await;
    fleet::seed(&s.db).await.unwrap();
    let burn_in = s.page("/work?process=AcmeBurnIn").await;
    assert_eq!(machines(&burn_in).len(), 4);
    assert!(burn_in.contains("<option value=\"AcmeBurnIn\" selected>"));
    let starters = s.page("/work?component=agent-starter&process=").await;
    assert_eq!(machines(&starters).len(), 6);
    assert!(starters.contains("value=\"agent-starter\""));
    let neither = s
        .page("/work?component=agent-starter&process=AcmeBurnIn")
        .await;
    assert_eq!(machines(&neither), Vec::<&str>::new());
}

#[tokio::test]
async fn every_claimed_machine_is_on_exactly_one_page() {
    let s = Scenario::new().await;
    s.db.run_sql(
        "INSERT INTO machines SELECT gen_random_uuid() FROM generate_series(1, 120);
         INSERT INTO sessions VALUES (gen_random_uuid(), 'many', '', now(), 60, now() + interval '1 h');
         INSERT INTO work_item (machine_id, process, lane, session_id, started_at, fence)
         SELECT machine_id, 'Acme', 'acme', session_id, date_trunc('minute', clock_timestamp()),
                nextval('work_fence')
         FROM machines, sessions",
    )
    .await
    .unwrap();
    let pages = s.pages("/work?process=Acme").await;
    let mut seen: Vec<&str> = pages.iter().flat_map(|page| machines(page)).collect();
    assert_eq!((pages.len(), seen.len()), (3, 120));
    for page in &pages[..2] {
        let next = next(page).unwrap();
        assert!(next.contains("process=Acme"), "{next}");
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 120);
}

#[tokio::test]
async fn invalid_parameters_are_refused_with_the_reason() {
    let s = Scenario::new().await;
    for (query, reason) in [
        ("after=x", "is not a position in this list"),
        ("after=1.2.3", "is not a position in this list"),
        ("process=%3Cscript%3E", "parameter"),
        (
            "componen=x",
            "is unknown; this page has process, component, after",
        ),
        ("component=a%00b", "contains a control character"),
    ] {
        let answer = s.get(&format!("/work?{query}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.text.contains(reason), "{query}: {}", answer.text);
        assert!(!answer.text.contains("<script>"), "{query}");
    }
    // It is not injected into the query, and no component has this name.
    let page = s.page("/work?component=%27%20OR%201%3D1%20--").await;
    assert!(page.contains("No claimed machines match these filters."));
}
