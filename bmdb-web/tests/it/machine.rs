//! Machine page: gates, backoffs, tags and history in each state of a machine.

use crate::scenario::{Scenario, links};
use crate::seed::{self, BUSY, GONE, SESSION};
use axum::http::StatusCode;
use bmdb_model::Provider;
use bmdb_testkit::TestDb;

async fn seeded() -> Scenario {
    let db = TestDb::new().await.unwrap();
    seed::everything(&db).await;
    Scenario::on(db).await
}

#[tokio::test]
async fn the_page_of_a_new_machine_has_no_history() {
    let s = Scenario::new().await;
    let machine = s.db.machine().create().await.unwrap();
    let page = s.page(&format!("/machines/{machine}")).await;
    for part in [
        "No history yet.",
        "No process is backing off.",
        "Not set: agent_heartbeat, agent_started",
        "The tags do not make the machine eligible.",
        &machine.to_string(),
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
}

#[tokio::test]
async fn the_title_is_the_name_that_the_provider_gave() {
    let s = Scenario::new().await;
    let machine =
        s.db.machine()
            .provided(&Provider::EQUINIX, "8d2b1f0c")
            .planned();
    let machine = machine.create().await.unwrap();
    let page = s.page(&format!("/machines/{machine}")).await;
    assert!(page.contains("<title>Equinix/8d2b1f0c · bmdb</title>"));
    assert!(page.contains("<nav class=\"crumbs\" aria-label=\"Breadcrumbs\">"));
    assert!(page.contains("The tags make the machine eligible."));
    assert!(page.contains("badge good\">due</span>"));
}

#[tokio::test]
async fn a_busy_machine_shows_hold_tags_gates_backoffs_and_history() {
    let s = seeded().await;
    let page = s.page(&format!("/machines/{BUSY}")).await;
    for part in [
        "On hold: &lt;script&gt;",
        "bmdb machine release",
        // Tags of bmdb and custom tags, each value by its type.
        "deadbeef",
        "5000 bytes",
        "&lt;b&gt;rack&amp;",
        "&lt;i&gt;&quot;place'",
        "infinity",
        // Gates.
        "The machine is on hold.",
        "backing off",
        "claimed",
        "for <span class=\"interval\">5m</span>",
        // Backoffs and their chart.
        "in force",
        "backoff interval after each failure",
        "<svg class=\"chart\"",
        // History: a streak, an operator action, outcomes.
        "×17",
        "machine hold",
        "backs off for",
        "finished",
        "canceled",
        ">expired</span>",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(links(&page).contains(&format!("/sessions/{SESSION}")));
}

#[tokio::test]
async fn later_pages_of_history_only_show_history() {
    let s = seeded().await;
    let page = s.page(&format!("/machines/{BUSY}")).await;
    let older = links(&page)
        .into_iter()
        .find(|link| link.contains("after="))
        .unwrap();
    let page = s.page(&older).await;
    assert!(page.contains("Back to the machine"));
    assert!(!page.contains("<svg"));
    assert!(page.contains("rel=\"first\""));
    assert!(page.contains("failed"));
}

#[tokio::test]
async fn a_deleted_machine_shows_its_history_and_an_unknown_one_is_not_found() {
    let s = seeded().await;
    let gone = s.page(&format!("/machines/{GONE}")).await;
    assert!(gone.contains("This machine has been deleted."));
    assert!(gone.contains("failed"));
    let unknown = s
        .get("/machines/00000000-0000-4000-8000-000000000000")
        .await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.text.contains("There is no machine"));
}

#[tokio::test]
async fn invalid_ids_are_refused_with_an_example() {
    let s = Scenario::new().await;
    for id in [
        "x",
        "%00",
        "c4ca4238",
        "..%2f..%2fetc",
        "%F0%9F%92%A9",
        "%FF",
    ] {
        let answer = s.get(&format!("/machines/{id}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{id}");
        assert!(
            answer.text.contains("expected a UUID such as"),
            "{id}: {}",
            answer.text
        );
    }
    let bad = s.get(&format!("/machines/{BUSY}?after=1.2")).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_dropped_tag_table_does_not_break_the_pages() {
    let s = seeded().await;
    let address = format!("/machines/{BUSY}");
    s.page(&address).await;
    s.db.run_sql("DROP TABLE \"<b>rack&\"").await.unwrap();
    let page = s.page(&address).await;
    assert!(page.contains("Cannot be read: "), "{page}");
    s.page("/machines").await;
}

#[tokio::test]
async fn every_link_of_every_page_works() {
    let s = seeded().await;
    let mut addresses = vec!["/".to_owned(), format!("/machines/{BUSY}")];
    let mut followed = 0;
    while followed < addresses.len().min(200) {
        let address = addresses[followed].clone();
        followed += 1;
        let page = s.page(&address).await;
        for link in links(&page) {
            if link.starts_with('/') && !addresses.contains(&link) {
                addresses.push(link);
            }
        }
    }
    assert!(followed > 60, "{followed}");
}

// The chart was made from the page's rows of history, so attempts of other processes hid it.
#[tokio::test]
async fn the_interval_chart_ignores_later_attempts_of_other_processes() {
    let s = Scenario::new().await;
    let machine = s.db.machine().create().await.unwrap();
    let seed = format!(
        "INSERT INTO work_item (machine_id, process, lane, backoff_until, failures, last_interval_seconds)
         SELECT '{machine}', process, process, now() + interval '1 hour', 8, 600
         FROM unnest(ARRAY['Paint', 'Polish']) process;
         INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at,
                                   ended_at, outcome, cause, interval_seconds)
         SELECT '{machine}', n, n, CASE WHEN n <= 8 THEN 'Paint' ELSE 'Sweep' END, gen_random_uuid(),
                now() - (100 - n) * interval '1 hour', now() - (100 - n) * interval '59 minutes',
                CASE WHEN n <= 8 THEN 'Failed' ELSE 'Finished' END, CASE WHEN n <= 8 THEN 'wet' END,
                CASE WHEN n <= 8 THEN 60 * n END
         FROM generate_series(1, 68) n"
    );
    s.db.run_sql(&seed).await.unwrap();
    let page = s.page(&format!("/machines/{machine}")).await;
    assert!(page.contains("id=\"intervals-Paint"), "{page}");
    assert!(page.contains("8 intervals, the first of 1m, the last of 8m."));
    // The attempts behind this backoff have been trimmed.
    assert!(!page.contains("id=\"intervals-Polish"));
}
