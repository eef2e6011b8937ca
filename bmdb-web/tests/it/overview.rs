//! Overview page: counts, problems, charts, and its empty states.

use crate::fleet::{self, HOSTILE};
use crate::scenario::{Scenario, ask, counted};
use axum::http::{Method, StatusCode};
use bmdb_testkit::TestDb;

#[tokio::test]
async fn the_overview_of_an_empty_database_explains_itself() {
    let s = Scenario::new().await;
    let page = s.page("/").await;
    for part in [
        "<title>Overview · bmdb</title>",
        "No attempt has ended in the last hour.",
        "bmdb run --process",
        "No machine is due.",
        "No machine is claimed now",
        "No machine has been claimed for more than an hour.",
        "No process has failed ten times in a row",
        "No operator actions yet.",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(!page.contains("<svg"), "there are no charts");
}

#[tokio::test]
async fn problems_are_listed_with_links() {
    let s = Scenario::new().await;
    let seeded = fleet::seed(&s.db).await.unwrap();
    let page = s.page("/").await;
    for (label, value) in [
        ("Stuck", "2"),
        ("Claimed now", "13"),
        ("Poisoned", "4"),
        ("Live sessions", "5"),
    ] {
        let card = page
            .split("<li class=\"card")
            .find(|card| card.contains(label));
        let card = card.unwrap_or_else(|| panic!("no card {label}"));
        let shown = format!("<span class=\"value\">{value}</span>");
        assert!(card.contains(&shown), "{label}: {card:.300}");
    }
    assert!(page.contains("1 expired and not removed yet"));
    for machine in [seeded.worst, seeded.stuck] {
        assert!(page.contains(&format!("href=\"/machines/{machine}\"")));
    }
    assert!(page.contains(&format!("href=\"/sessions/{}\"", seeded.live)));
    assert!(page.contains("hold machine"), "an operator action");
    assert!(page.contains("<h3>Time from due to claimed</h3>"));
    assert!(page.contains("on average, over "), "counted per minute");
}

#[tokio::test]
async fn attempts_are_drawn_for_all_processes_and_for_each() {
    let s = Scenario::new().await;
    fleet::seed(&s.db).await.unwrap();
    let page = s.page("/").await;
    assert_eq!(page.matches("<svg class=\"chart\"").count(), 4);
    let first = page
        .find("id=\"attempts-1-title\">ShepherdAgentStart")
        .unwrap();
    let second = page
        .find("id=\"attempts-2-title\">ShepherdRecovery")
        .unwrap();
    assert!(first < second, "the busiest process first");
    assert!(page.contains("Show as a table"));
    // Bars only show the last hour.
    let bars = page.split("attempts-0-title").nth(1).unwrap();
    let bars = bars.split("</svg>").next().unwrap();
    assert!(bars.matches("<g><title>").count() <= 60);
}

#[tokio::test]
async fn hostile_values_are_text() {
    let s = Scenario::new().await;
    fleet::seed(&s.db).await.unwrap();
    let page = s.page("/").await;
    assert!(!page.contains(HOSTILE));
    assert!(page.contains("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;"));
}

#[tokio::test]
async fn unknown_parameters_are_refused() {
    let s = Scenario::new().await;
    let answer = s.get("/?process=x").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.text.contains("this page has no parameters"));
}

#[tokio::test]
async fn with_a_sampler_the_fleet_is_shown_with_the_age_of_its_counts() {
    let db = TestDb::new().await.unwrap();
    fleet::seed(&db).await.unwrap();
    let page = ask(&counted(&db).await, Method::GET, "/").await;
    assert_eq!(page.status, StatusCode::OK, "{}", page.text);
    for part in [
        "<span class=\"value\">64</span><span class=\"note\">62 from a provider</span>",
        "href=\"/work?process=ShepherdAgentStart\"",
        "href=\"/backoffs?process=ShepherdRecovery\"",
        " ago.</p>",
    ] {
        assert!(page.text.contains(part), "no {part} in {}", page.text);
    }
}
