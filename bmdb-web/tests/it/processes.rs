//! Processes: the list, the page of one, and the banner of every page.

use crate::fleet::{self, HOSTILE};
use crate::scenario::{Scenario, ask, counted};
use axum::http::{Method, StatusCode};
use bmdb_testkit::TestDb;

/// What the row of a process shows.
fn row<'a>(page: &'a str, process: &str) -> &'a str {
    let start = format!("<a href=\"/processes/{process}\">{process}</a>");
    let rows = page.split("role=\"rowheader\"").skip(1);
    let mut rows = rows.filter(|row| row.contains(&start));
    rows.next()
        .unwrap_or_else(|| panic!("{process} is not listed: {page}"))
}

#[tokio::test]
async fn the_shipped_processes_are_listed_with_their_limits() {
    let s = Scenario::new().await;
    let page = s.page("/processes").await;
    assert!(page.contains("href=\"/processes\" aria-current=\"true\""));
    for process in ["ShepherdAccess", "ShepherdAgentStart", "ShepherdRecovery"] {
        assert!(row(&page, process).contains(">open</span>"), "{page}");
    }
    let recovery = s.page("/processes/ShepherdRecovery").await;
    for part in [
        "For each provider: at most 5 machines at once, and at most 10 starts within",
        "it trips when more than 5% of the machines, and more than 5, need it at once, or when 20 attempts \
         fail within",
        "Then a person has to resume it.",
        "<code>workflow_agent_recovery</code>",
        "Nobody has changed its limits",
    ] {
        assert!(recovery.contains(part), "no {part} in {recovery}");
    }
    let unlimited = s.page("/processes/ShepherdAccess").await;
    assert!(unlimited.contains("bmdb process limit ShepherdAccess"));
}

#[tokio::test]
async fn the_list_shows_what_runs_what_is_full_and_what_is_stopped() {
    let db = TestDb::new().await.unwrap();
    fleet::seed(&db).await.unwrap();
    let page = ask(&counted(&db).await, Method::GET, "/processes").await;
    assert_eq!(page.status, StatusCode::OK);
    let recovery = row(&page.text, "ShepherdRecovery");
    for part in [
        "breaker open",
        "1/5",
        "9 of 30",
        "trips above 5, SiteA",
        "paused</span>",
    ] {
        assert!(recovery.contains(part), "no {part} in {recovery}");
    }
    let burn_in = row(&page.text, "AcmeBurnIn");
    for part in [">paused</span>", "4/4", "all machines", ">full</span>"] {
        assert!(burn_in.contains(part), "no {part} in {burn_in}");
    }
}

#[tokio::test]
async fn a_page_of_a_process_shows_pauses_partitions_causes_and_actions() {
    let s = Scenario::new().await;
    fleet::seed(&s.db).await.unwrap();
    let page = s.page("/processes/ShepherdRecovery").await;
    for part in [
        "Breaker open for SiteA",
        "until somebody resumes it",
        "Find out why before you resume it",
        "bmdb process resume ShepherdRecovery --provider SiteA",
        ">open</span>",
        ">resumed, not armed</span>",
        "power cycle did not help",
        "trip breaker",
        "Due the longest",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    let paused = s.page("/processes/AcmeBurnIn").await;
    assert!(!paused.contains(HOSTILE), "escaped");
    for part in [
        "It resumes by itself after",
        "4/4",
        "bmdb process resume AcmeBurnIn<",
    ] {
        assert!(paused.contains(part), "no {part} in {paused}");
    }
}

#[tokio::test]
async fn an_unknown_process_has_no_page_and_a_name_that_cannot_be_one_is_refused() {
    let s = Scenario::new().await;
    let unknown = s.get("/processes/Typo").await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
    assert!(unknown.text.contains("There is no process Typo."));
    for name in ["%3Cscript%3E", "a%20b", "%00"] {
        let refused = s.get(&format!("/processes/{name}")).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{name}");
    }
    let refused = s.get("/processes?x=1").await;
    assert_eq!(refused.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn every_page_is_loud_while_a_breaker_is_open_and_quiet_about_other_pauses() {
    let s = Scenario::new().await;
    let pages = [
        "/",
        "/machines",
        "/processes",
        "/sessions",
        "/work",
        "/backoffs",
    ];
    for page in pages {
        assert!(!s.page(page).await.contains("banner"), "{page}");
    }
    let pause = |process: &str, provider: &str, source: &str| {
        format!(
            "INSERT INTO process_control VALUES ('{process}') ON CONFLICT DO NOTHING;
             INSERT INTO process_pause (process, provider, source, paused_by, reason)
             VALUES ('{process}', '{provider}', '{source}', 'ada', 'a <fire> in hall 2')"
        )
    };
    s.db.run_sql(&pause("ShepherdAccess", "", "Operator"))
        .await
        .unwrap();
    for page in pages {
        let page = s.page(page).await;
        assert!(page.contains("<div class=\"notice banner\" role=\"status\">"));
        assert!(!page.contains("role=\"alert\"") && page.contains("a &lt;fire&gt; in hall 2"));
    }
    s.db.run_sql(&pause("ShepherdRecovery", "SiteA", "Breaker"))
        .await
        .unwrap();
    for page in pages {
        let page = s.page(page).await;
        assert!(
            page.contains("<div class=\"notice bad banner\" role=\"alert\">"),
            "{page}"
        );
        assert!(page.contains("ShepherdRecovery</a> for SiteA is stopped."));
    }
    s.db.run_sql("UPDATE process_pause SET until = now()")
        .await
        .unwrap();
    assert!(
        !s.page("/").await.contains("banner"),
        "what has ended is over"
    );
}

#[tokio::test]
async fn the_overview_lists_what_needs_a_look_and_machines_show_the_fourth_gate() {
    let s = Scenario::new().await;
    fleet::seed(&s.db).await.unwrap();
    let page = s.page("/").await;
    for part in [
        "What needs a look",
        "Open breakers and long pauses",
        "9 of 30 machines need it at once, more than 5",
        "Why processes fail now",
        "BMC refused the boot order: 403 Forbidden",
        "3 times and still due",
        ">flapping</span>",
        ">AcmeBurnIn</a> is not plannable",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    // Machine 33 is of SiteA, has an agent, and may be recovered.
    let machine = "00000021-beef-4000-8000-000000000021";
    let page = s.page(&format!("/machines/{machine}")).await;
    for part in [
        "Allowed.",
        "Paused for SiteA by its breaker since",
        "The process",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
}
