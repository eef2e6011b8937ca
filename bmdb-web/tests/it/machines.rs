//! Machines page: filters, pages and rows.

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
async fn an_empty_fleet_explains_how_to_import_machines() {
    let s = Scenario::new().await;
    let page = s.page("/machines").await;
    assert!(page.contains("No machines yet."));
    assert!(page.contains("bmdb machine import fleet.json"));
}

#[tokio::test]
async fn a_row_shows_provider_tags_and_the_state_of_each_process() {
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
        "the session that claimed it"
    );
}

#[tokio::test]
async fn every_machine_is_on_exactly_one_page() {
    let s = seeded().await;
    let pages = s.pages("/machines").await;
    let links = pages.iter().flat_map(|page| links(page));
    let mut machines: Vec<String> = links
        .filter(|link| link.starts_with("/machines/"))
        .collect();
    assert_eq!(machines.len(), 60);
    machines.sort();
    machines.dedup();
    assert_eq!(machines.len(), 60);
}

#[tokio::test]
async fn each_filter_narrows_the_list_and_stays_selected() {
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
            "value=\"claimed\" selected",
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
    let page = s.page("/machines?prefix=unknown").await;
    assert!(page.contains("No machines match these filters."));
    // A browser sends this for an empty form.
    let page = s
        .page("/machines?prefix=&provider=&tag=&process=&state=")
        .await;
    assert_eq!(rows(&page), 50);
}

#[tokio::test]
async fn hostile_parameters_are_refused_with_the_reason() {
    let s = seeded().await;
    let long = "x".repeat(600);
    for (query, reason) in [
        ("provider=a%20b", "provider name"),
        ("provider=Equinix&provider=Lumen", "given twice"),
        ("tag=machines", "is unknown; the tags are"),
        ("tag=pg_authid%22;--", "is unknown; the tags are"),
        ("process=ShepherdAgentStart", "needs a state"),
        ("state=due", "needs a process"),
        (
            "process=ShepherdAgentStart&state=asleep",
            "expected due, limited",
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
    // These are unusual but valid.
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
async fn every_tag_is_counted_with_a_link_to_its_machines() {
    let db = TestDb::new().await.unwrap();
    seed::everything(&db).await;
    // The first login grants the viewer's privileges; those on the new table are revoked.
    db.url_as(Role::Viewer).await.unwrap();
    db.run_sql(
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
    assert!(page.contains("Not counted: secret: "), "{page}");
    for state in [
        "waiting",
        "backing-off",
        "claimed",
        "not-eligible",
        "due",
        "limited",
        "paused",
    ] {
        let link = format!("/machines?process=ShepherdAgentStart&amp;state={state}");
        assert!(page.contains(&link), "no {link} in {page}");
    }
}

// The overview showed how many machines were due, and the machines page said `not counted`.
#[tokio::test]
async fn all_pages_show_the_same_number_of_due_machines() {
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
    assert!(of_recovery("/", "Due").await.contains(">2<"));
}
