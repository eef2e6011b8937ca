//! Work now: the longest held first, narrowed, and a page at a time.

use crate::fleet::{self, HOSTILE};
use crate::scenario::Scenario;
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
async fn nobody_at_work_is_a_page_that_teaches() {
    let s = Scenario::new().await;
    let page = s.page("/work").await;
    assert!(page.contains("Nobody is at work.") && page.contains("bmdb run --process"));
    let page = s.page("/work?process=ShepherdAgentStart").await;
    assert!(page.contains("No work that is held fits these filters."));
}

#[tokio::test]
async fn the_longest_held_comes_first_and_says_what_is_the_matter() {
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
        "lost 2 times",
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
async fn every_held_item_is_on_exactly_one_page() {
    let s = Scenario::new().await;
    s.db.execute(
        "INSERT INTO machines SELECT gen_random_uuid() FROM generate_series(1, 120);
         INSERT INTO sessions VALUES (gen_random_uuid(), 'many', '', now(), 60, now() + interval '1 h');
         INSERT INTO work_item (machine_id, process, lane, session_id, started_at, fence)
         SELECT machine_id, 'Acme', 'acme', session_id, date_trunc('minute', clock_timestamp()),
                nextval('work_fence')
         FROM machines, sessions",
    )
    .await
    .unwrap();
    let (mut address, mut seen, mut pages) = ("/work?process=Acme".to_owned(), Vec::new(), 0);
    loop {
        let page = s.page(&address).await;
        seen.extend(machines(&page).into_iter().map(str::to_owned));
        pages += 1;
        let Some(link) = page
            .split("rel=\"next\"")
            .next()
            .filter(|_| page.contains("rel=\"next\""))
        else {
            break;
        };
        let start = link.rfind("href=\"").unwrap() + 6;
        address = link[start..]
            .split('"')
            .next()
            .unwrap()
            .replace("&amp;", "&");
        assert!(address.contains("process=Acme"), "{address}");
    }
    assert_eq!((pages, seen.len()), (3, 120));
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 120);
}

#[tokio::test]
async fn what_is_no_value_of_a_parameter_is_refused_with_the_reason() {
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
    // No injection, and nobody is called so.
    let page = s.page("/work?component=%27%20OR%201%3D1%20--").await;
    assert!(page.contains("No work that is held fits these filters."));
}
