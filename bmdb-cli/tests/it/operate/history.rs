//! `bmdb history` of a machine and of a session.

use super::Fixture;
use crate::bmdb::bmdb;
use crate::schemas::documented;

#[tokio::test]
async fn a_history_is_shown_newest_first_and_continues_on_the_next_page() {
    let s = Fixture::new().await;
    let id = s.machine.to_string();
    let attempts = format!(
        "INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at, ended_at,
                                   outcome, cause, repeats, interval_seconds)
         VALUES ('{id}', 1, 3, 'ShepherdAgentStart', gen_random_uuid(), now() - interval '3 h', now() - interval '1 h',
                 'Failed', E'no\\nanswer\\x1b[31m', 2, 600),
                ('{id}', 4, 4, 'ShepherdAgentStart', gen_random_uuid(), now() - interval '50 min', now() - interval '40 min',
                 'Finished', NULL, 0, NULL)"
    );
    s.db.run_sql(&attempts).await.unwrap();
    s.claim().await;
    bmdb(&s.db)
        .args(["machine", "hold", &id, "--reason", "fan"])
        .run();
    let history = bmdb(&s.db).args(["history", &id, "--json"]).run();
    documented("bmdb history", &history);
    insta::assert_json_snapshot!("history", history.redacted());
    let text = bmdb(&s.db).args(["history", &id]).run().stdout;
    assert!(
        text.contains("Failed ×3") && text.contains(r": no\nanswer\u{1b}[31m"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");

    let first = bmdb(&s.db)
        .args(["history", &id, "--limit", "1", "--json"])
        .run()
        .json();
    assert_eq!(
        first["items"].as_array().unwrap().len(),
        2,
        "claimed work comes on top of the page"
    );
    let next = first["next"].as_str().unwrap();
    let second = bmdb(&s.db)
        .args(["history", &id, "--limit", "1", "--json", "--after", next])
        .run()
        .json();
    assert_eq!(second["items"][0]["outcome"], "Finished");
    bmdb(&s.db)
        .args(["history", &id, "--after", "x"])
        .fails_with(2, "is not a position in this list");
    bmdb(&s.db)
        .args(["history", "ffff"])
        .fails_with(3, "no machine's id begins with");
}

#[tokio::test]
async fn the_history_of_an_ended_session_names_its_machines() {
    let s = Fixture::new().await;
    let (id, session) = (
        s.machine.to_string(),
        "4e0f9c51-6a2b-4c1d-9c3e-0a7d5b2f8e61",
    );
    let attempts = format!(
        "INSERT INTO work_attempt (machine_id, fence, last_fence, process, session_id, started_at, ended_at, outcome)
         SELECT CASE n WHEN 1 THEN '{id}' ELSE gen_random_uuid() END, n, n, 'ShepherdAgentStart',
                CASE WHEN n < 3 THEN '{session}' ELSE gen_random_uuid() END, now(), now(), 'Finished'
         FROM generate_series(1, 4) n"
    );
    s.db.run_sql(&attempts).await.unwrap();
    let history = ["history", "--session", session];
    let first = bmdb(&s.db)
        .args(history)
        .args(["--limit", "1", "--json"])
        .run();
    documented("bmdb history", &first);
    let first = first.json();
    assert_eq!(first["session_id"], session);
    assert_eq!(first["items"][0]["fence"], 2);
    let next = first["next"].as_str().unwrap();
    let second = bmdb(&s.db).args(history).args(["--after", next]).run();
    let line = format!("{id}  ShepherdAgentStart  Finished  (fence 1)");
    assert!(second.stdout.contains(&line), "{}", second.stdout);
    assert_eq!(second.stdout.lines().count(), 1);

    let other = "00000000-0000-4000-8000-000000000000";
    let nothing = bmdb(&s.db).args(["history", "--session", other]).run();
    assert!(
        nothing
            .stdout
            .contains("No recorded attempt was ended by session"),
        "{}",
        nothing.stdout
    );
    bmdb(&s.db)
        .args(history)
        .args([&id])
        .fails_with(2, "cannot be used with");
}
