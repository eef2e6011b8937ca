//! The fleet's page: filters, pages, and what each row says.

use crate::scenario::{Scenario, ask, counted, links};
use crate::seed::{self, BUSY, SESSION};
use axum::http::{Method, StatusCode};
use bmdb_model::Provider;
use bmdb_testkit::{Role, TestDb};
use std::time::Duration;

async fn seeded() -> Scenario {
    let db = TestDb::new().await.unwrap();
    seed::everything(&db).await;
    Scenario::on(db).await
}

fn rows(page: &str) -> usize {
    page.split("<th scope=\"row\"").count() - 1
}

#[tokio::test]
async fn an_empty_fleet_says_what_the_page_is_for_and_how_to_fill_it() {
    let s = Scenario::new().await;
    let page = s.page("/machines").await;
    assert!(page.contains("No machines yet."));
    assert!(page.contains("bmdb machine import fleet.json"));
}

#[tokio::test]
async fn a_row_says_where_a_machine_comes_from_what_it_has_and_what_it_waits_for() {
    let s = seeded().await;
    let page = s.page(&format!("/machines?prefix={BUSY}")).await;
    assert_eq!(rows(&page), 1);
    for part in [
        "title=\"c4ca4238-a0b9-2382-0dcc-509a6f75849b\"><code>c4ca4238</code>",
        ">Lumen</a>",
        ">Missing</span>",
        "on hold",
        "backing off",
        ">hardware_report</a>",
        "&lt;b&gt;rack&amp;",
        "1 failed in a row",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
    assert!(
        page.contains(&format!("/sessions/{SESSION}")),
        "who holds it"
    );
}

#[tokio::test]
async fn all_machines_are_listed_once_over_the_pages() {
    let s = seeded().await;
    let mut address = "/machines".to_owned();
    let mut machines = Vec::new();
    loop {
        let page = s.page(&address).await;
        let listed = links(&page)
            .into_iter()
            .filter(|link| link.starts_with("/machines/"));
        machines.extend(listed);
        match page.split("rel=\"next\"").count() {
            1 => break,
            _ => {
                let next = links(&page)
                    .into_iter()
                    .find(|link| link.contains("after="));
                address = next.unwrap();
            }
        }
    }
    assert_eq!(machines.len(), 60);
    machines.sort();
    machines.dedup();
    assert_eq!(machines.len(), 60);
}

#[tokio::test]
async fn each_filter_narrows_the_list_and_stays_in_the_form() {
    let s = seeded().await;
    for (query, chosen, least) in [
        ("provider=Equinix", "value=\"Equinix\" selected", 25),
        ("tag=machine_hold", "value=\"machine_hold\" selected", 1),
        (
            "tag=%3Cb%3Erack%26",
            "value=\"&lt;b&gt;rack&amp;\" selected",
            1,
        ),
        (
            "process=ShepherdAgentStart&state=claimed",
            "value=\"held\" selected",
            5,
        ),
        (
            "process=ShepherdAgentStart&state=backing-off",
            "value=\"backing-off\" selected",
            8,
        ),
        (
            "process=Unknown&state=claimed",
            "value=\"Unknown\" selected",
            1,
        ),
        (
            "process=ShepherdAgentStart&state=not-eligible&provider=Lumen",
            "value=\"not-eligible\" selected",
            5,
        ),
        ("prefix=c4", "value=\"c4\"", 1),
        ("prefix=Lumen/1", "value=\"Lumen/1\"", 6),
    ] {
        let page = s.page(&format!("/machines?{query}")).await;
        assert!(page.contains(chosen), "{query}: {page}");
        assert!(
            (least..50).contains(&rows(&page)),
            "{query}: {}",
            rows(&page)
        );
    }
    let page = s.page("/machines?prefix=nobody").await;
    assert!(page.contains("No machine fits these filters."));
    // What a browser sends for a form in which nothing was chosen.
    let page = s
        .page("/machines?prefix=&provider=&tag=&process=&state=")
        .await;
    assert_eq!(rows(&page), 50);
}

#[tokio::test]
async fn a_hostile_query_is_refused_with_a_reason_and_harms_nothing() {
    let s = seeded().await;
    let long = "x".repeat(600);
    for (query, reason) in [
        ("provider=a%20b", "provider name"),
        ("provider=Equinix&provider=Lumen", "given twice"),
        ("tag=machines", "is no tag; there are"),
        ("tag=pg_authid%22;--", "is no tag; there are"),
        ("process=ShepherdAgentStart", "goes with a state"),
        ("state=due", "choose the process"),
        (
            "process=ShepherdAgentStart&state=asleep",
            "expected due, waiting",
        ),
        ("process=%3Cscript%3E&state=due", "process name"),
        ("prefix=a%00b", "control character"),
        ("prefix=a%0Ab", "control character"),
        (&format!("prefix={long}"), "longer than 500 bytes"),
        ("after=xyz", "not a position in this list"),
        (
            "after=m.00000000-0000-0000-0000-00000000000g",
            "not a position in this list",
        ),
        (
            "after=b.9223372036854775807.00000000-0000-0000-0000-000000000000",
            "not a position in this list",
        ),
        (
            "after=h.00000000-0000-0000-0000-000000000000.x",
            "other filters",
        ),
        ("page=2", "is unknown; this page has provider"),
        ("%FF%FE=1", "is unknown"),
        ("<script>=1", "is unknown"),
    ] {
        let uri = query.replace('<', "%3C").replace('>', "%3E");
        let answer = s.get(&format!("/machines?{uri}")).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert!(answer.text.contains(reason), "{query}: {}", answer.text);
    }
    // These are strange, and mean something.
    for query in [
        "prefix=%25",
        "prefix=%27%3B%20DROP%20TABLE%20machines",
        "prefix=%F0%9F%92%A9",
        "&&&",
        "prefix=%E2%80%AE",
    ] {
        s.page(&format!("/machines?{query}")).await;
    }
}

#[tokio::test]
async fn every_tag_is_counted_with_a_link_to_the_machines_that_have_it() {
    let db = TestDb::new().await.unwrap();
    seed::everything(&db).await;
    // Grants come with the first login, and are taken back from what is made later.
    db.url_as(Role::Viewer).await.unwrap();
    db.execute(
        "CREATE TABLE secret (machine_id uuid PRIMARY KEY REFERENCES machines);
         REVOKE ALL ON secret FROM PUBLIC, bmdb_viewer",
    )
    .await
    .unwrap();
    let router = counted(&db).await;
    let page = ask(&router, Method::GET, "/machines").await.text;
    let rack = "&lt;b&gt;rack&amp;";
    for (link, table, name, count) in [
        ("machine_provided", "machine_provided", "provided", 50),
        ("machine_hold", "machine_hold", "hold", 1),
        ("%3Cb%3Erack%26", rack, rack, 1),
    ] {
        let link = format!("/machines?tag={link}");
        let card = format!("href=\"{link}\" title=\"{table}\">{name} {count}</a>");
        assert!(page.contains(&card), "no {card} in {page}");
        let listed = ask(&router, Method::GET, &link).await;
        assert_eq!(listed.status, StatusCode::OK, "{link}");
    }
    assert!(page.contains("Not counted: secret, for "), "{page}");
    for state in ["waiting", "backing-off", "claimed", "not-eligible", "due"] {
        let link = format!("/machines?process=ShepherdAgentStart&amp;state={state}");
        assert!(page.contains(&link), "no {link} in {page}");
    }
}

// The overview said how many were due, and the fleet's page that this is not counted.
#[tokio::test]
async fn what_is_due_by_the_heartbeats_is_the_same_number_wherever_it_is_shown() {
    const MINUTE: Duration = Duration::from_secs(60);
    let db = TestDb::new().await.unwrap();
    for (id, silent_for) in [("silent", 15), ("mute", 20), ("alive", 1)] {
        let machine = db.machine().provided(&Provider::EQUINIX, id);
        let machine = machine.agent_started(60 * MINUTE);
        let machine = machine.agent_heartbeat(silent_for * MINUTE).planned();
        machine.create().await.unwrap();
    }
    let router = counted(&db).await;
    let of_recovery = async |page: &str, column: &str| {
        let page = ask(&router, Method::GET, page).await.text;
        let mut rows = page.split("<tr role=\"row\">");
        let row = rows.find(|row| row.contains("Backing off") && row.contains("ShepherdRecovery"));
        let row = row.unwrap().split("</tr>").next().unwrap().to_owned();
        let cell = row.split(&format!("data-label=\"{column}\"")).nth(1);
        cell.unwrap().split("</td>").next().unwrap().to_owned()
    };
    assert!(of_recovery("/machines", "Due").await.contains(">2<"));
    assert!(of_recovery("/", "Due now").await.contains(">2<"));
}
