//! Sessions, and each of them: what lives, what has expired, and what is known of those that ended.

use crate::fleet::{self, HOSTILE};
use crate::scenario::Scenario;
use axum::http::StatusCode;
use bmdb_model::SessionId;

#[tokio::test]
async fn no_sessions_is_a_page_that_teaches() {
    let s = Scenario::new().await;
    let page = s.page("/sessions").await;
    assert!(page.contains("No control loop runs.") && page.contains("bmdb run --process"));
}

#[tokio::test]
async fn sessions_are_listed_with_their_state_and_what_they_hold() {
    let s = Scenario::new().await;
    let seeded = fleet::seed(&s.db).await.unwrap();
    let page = s.page("/sessions").await;
    assert_eq!(page.matches(">live</span>").count(), 5);
    assert_eq!(page.matches(">expired</span>").count(), 1);
    let row = page.split("<tr role=\"row\">");
    let live = seeded.live.to_string();
    let row = row.clone().find(|row| row.contains(&live)).unwrap();
    assert!(
        row.contains("data-label=\"Holds\"><div><span class=\"number\">3</span>"),
        "{row}"
    );
    assert!(row.contains("pod agent-starter-6d5f-x2k9, v1.14.2"));
    assert!(!page.contains(HOSTILE));
}

#[tokio::test]
async fn a_session_shows_what_it_holds_what_it_did_and_that_it_lives() {
    let s = Scenario::new().await;
    let seeded = fleet::seed(&s.db).await.unwrap();
    let page = s.page(&format!("/sessions/{}", seeded.live)).await;
    for part in [
        "agent-starter",
        ">live</span>",
        "moved 1 min ahead by every heartbeat",
        "<h2>Holds now</h2>",
        &format!("href=\"/machines/{}\"", seeded.stuck),
        "<h2>Did before</h2>",
        "Attempts that the session ended",
        ">finished</span>",
        "Nothing was.",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(!page.contains("data-label=\"Session\""), "it is its page");
    let expired = s.page(&format!("/sessions/{}", seeded.expired)).await;
    assert!(expired.contains("Its heartbeats have stopped.") && expired.contains("bmdb janitor"));
}

#[tokio::test]
async fn a_session_that_has_ended_is_explained() {
    let s = Scenario::new().await;
    let seeded = fleet::seed(&s.db).await.unwrap();
    let ended = s.page(&format!("/sessions/{}", seeded.ended)).await;
    assert!(ended.contains("This session has ended."));
    assert!(ended.contains("end session") && ended.contains("It hung after the upgrade"));
    let never = s.page(&format!("/sessions/{}", SessionId::random())).await;
    assert!(never.contains("This session has ended.") && never.contains("Nothing was."));
    assert!(never.contains("Nothing is known of what it did"));
}

#[tokio::test]
async fn what_an_ended_session_did_is_listed_a_page_at_a_time() {
    let s = Scenario::new().await;
    let session = SessionId::random();
    let attempts = format!(
        "INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at, ended_at, outcome)
         SELECT gen_random_uuid(), n, n, 'ShepherdAgentStart', '{session}', now(), now(), 'Finished'
         FROM generate_series(1, 51) n"
    );
    s.db.execute(&attempts).await.unwrap();
    let address = format!("/sessions/{session}");
    let first = s.page(&address).await;
    assert!(first.contains("This session has ended."));
    assert!(!first.contains("Nothing is known of what it did"));
    assert_eq!(first.matches("href=\"/machines/").count(), 50);
    assert!(first.contains(&format!("href=\"{address}?after=2\"")));
    let second = s.page(&format!("{address}?after=2")).await;
    assert_eq!(second.matches("href=\"/machines/").count(), 1);
    assert!(second.contains("What the session is now") && !second.contains("has ended."));
    let end = s.page(&format!("{address}?after=1")).await;
    assert!(end.contains("This was the last page."));
    let bad = s.get(&format!("{address}?after=x")).await;
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn what_is_no_id_is_refused_with_the_reason() {
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
    s.db.execute(
        "INSERT INTO sessions SELECT gen_random_uuid(), 'many', '', date_trunc('hour', now()), 60, now()
         FROM generate_series(1, 101)",
    )
    .await
    .unwrap();
    let (mut address, mut seen) = ("/sessions".to_owned(), Vec::new());
    for rows in [50, 50, 1] {
        let page = s.page(&address).await;
        let rows_of_page: Vec<&str> = page.split("role=\"rowheader\"").skip(1).collect();
        assert_eq!(rows_of_page.len(), rows);
        let id = |row: &&str| row.split("/sessions/").nth(1).unwrap()[..36].to_owned();
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
    assert_eq!(seen.len(), 101);
}
