//! Sessions pages: live, expired and ended sessions.

use crate::fleet::{self, HOSTILE};
use crate::scenario::{Scenario, ids, row_counts};
use axum::http::StatusCode;
use bmdb_model::SessionId;

#[tokio::test]
async fn without_sessions_the_page_explains_itself() {
    let s = Scenario::new().await;
    let page = s.page("/sessions").await;
    assert!(page.contains("No sessions.") && page.contains("bmdb run --process"));
}

#[tokio::test]
async fn sessions_are_listed_with_their_state_and_their_number_of_claims() {
    let s = Scenario::new().await;
    let seeded = fleet::seed(&s.db).await.unwrap();
    let page = s.page("/sessions").await;
    assert_eq!(page.matches(">live</span>").count(), 5);
    assert_eq!(page.matches(">expired</span>").count(), 1);
    let row = page.split("<tr role=\"row\">");
    let live = seeded.live.to_string();
    let row = row.clone().find(|row| row.contains(&live)).unwrap();
    assert!(
        row.contains("data-label=\"Claimed\"><div><span class=\"number\">3</span>"),
        "{row}"
    );
    assert!(row.contains("pod agent-starter-6d5f-x2k9, v1.14.2"));
    assert!(!page.contains(HOSTILE));
}

#[tokio::test]
async fn a_session_shows_its_state_its_claims_and_its_past_attempts() {
    let s = Scenario::new().await;
    let seeded = fleet::seed(&s.db).await.unwrap();
    let page = s.page(&format!("/sessions/{}", seeded.live)).await;
    for part in [
        "agent-starter",
        ">live</span>",
        "each heartbeat moves it 1 d",
        "<h2>Claimed machines</h2>",
        &format!("href=\"/machines/{}\"", seeded.stuck),
        "<h2>Past attempts</h2>",
        "Attempts that the session ended",
        ">finished</span>",
        "No operator actions on this session.",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(
        !page.contains("data-label=\"Session\""),
        "all rows have the same session"
    );
    let expired = s.page(&format!("/sessions/{}", seeded.expired)).await;
    assert!(expired.contains("its heartbeats have stopped.") && expired.contains("bmdb janitor"));
}

/// The database's clock was set back by an hour, and the lease of a dead worker looked like any other.
#[tokio::test]
async fn a_lease_that_ends_later_than_it_can_is_explained() {
    let s = Scenario::new().await;
    let seeded = fleet::seed(&s.db).await.unwrap();
    s.db.set_clock_back(std::time::Duration::from_secs(2 * 3600))
        .await
        .unwrap();
    assert!(s.page("/sessions").await.contains(">overlong</span>"));
    let page = s.page(&format!("/sessions/{}", seeded.live)).await;
    for part in [
        ">overlong</span>",
        "the database's clock was set back",
        &format!("bmdb session end {}", seeded.live),
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    let machine = s.page(&format!("/machines/{}", seeded.stuck)).await;
    assert!(
        machine.contains("The lease ends later than it can"),
        "{machine}"
    );
}

#[tokio::test]
async fn a_session_that_has_ended_is_explained() {
    let s = Scenario::new().await;
    let seeded = fleet::seed(&s.db).await.unwrap();
    let ended = s.page(&format!("/sessions/{}", seeded.ended)).await;
    assert!(ended.contains("This session has ended."));
    assert!(ended.contains("end session") && ended.contains("It hung after the upgrade"));
    let never = s.page(&format!("/sessions/{}", SessionId::random())).await;
    assert!(
        never.contains("This session has ended.")
            && never.contains("No operator actions on this session.")
    );
    assert!(never.contains("No attempts of it are on record"));
}

#[tokio::test]
async fn the_attempts_of_an_ended_session_are_listed_in_pages() {
    let s = Scenario::new().await;
    let session = SessionId::random();
    let attempts = format!(
        "INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at, ended_at, outcome)
         SELECT gen_random_uuid(), n, n, 'ShepherdAgentStart', '{session}', now(), now(), 'Finished'
         FROM generate_series(1, 51) n"
    );
    s.db.run_sql(&attempts).await.unwrap();
    let address = format!("/sessions/{session}");
    let first = s.page(&address).await;
    assert!(first.contains("This session has ended."));
    assert!(!first.contains("No attempts of it are on record"));
    assert_eq!(first.matches("href=\"/machines/").count(), 50);
    assert!(first.contains(&format!("href=\"{address}?after=2\"")));
    let second = s.page(&format!("{address}?after=2")).await;
    assert_eq!(second.matches("href=\"/machines/").count(), 1);
    assert!(second.contains("Back to the session") && !second.contains("has ended."));
    let end = s.page(&format!("{address}?after=1")).await;
    assert!(end.contains("There are no more rows."));
    let bad = s.get(&format!("{address}?after=x")).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn invalid_ids_are_refused_with_the_reason() {
    let s = Scenario::new().await;
    for id in ["x", "%3Cscript%3E", "00000000-0000-0000-0000-00000000000g"] {
        let answer = s.get(&format!("/sessions/{id}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{id}");
        assert!(
            answer.text.contains("invalid session id"),
            "{}",
            answer.text
        );
    }
    let answer = s.get("/sessions?after=x").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_session_is_on_exactly_one_page() {
    let s = Scenario::new().await;
    s.db.run_sql(
        "INSERT INTO sessions SELECT gen_random_uuid(), 'many', '', date_trunc('hour', now()), 60, now()
         FROM generate_series(1, 101)",
    )
    .await
    .unwrap();
    let pages = s.pages("/sessions").await;
    assert_eq!(row_counts(&pages), [50, 50, 1]);
    let mut seen = ids(&pages, "/sessions/");
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 101);
}
