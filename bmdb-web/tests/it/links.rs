//! Links: every page is reachable from the overview, and no link is broken.

use crate::fleet::{self, HOSTILE};
use crate::scenario::Scenario;
use axum::http::StatusCode;
use bmdb_model::text::is_invisible;
use std::collections::{BTreeSet, VecDeque};

/// The addresses within the console that a page links to.
fn links(page: &str) -> impl Iterator<Item = String> {
    let addresses = page.split("href=\"").skip(1);
    let addresses = addresses.filter_map(|rest| rest.split('"').next());
    let within = addresses.filter(|address| address.starts_with('/'));
    within.map(|address| address.replace("&amp;", "&"))
}

#[tokio::test]
async fn every_page_is_reachable_and_well_formed() {
    let s = Scenario::new().await;
    let seeded = fleet::seed(&s.db).await.unwrap();
    let mut known = BTreeSet::from(["/".to_owned()]);
    let mut next: VecDeque<String> = known.iter().cloned().collect();
    while let Some(address) = next.pop_front() {
        let answer = s.get(&address).await;
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "{address}: {}",
            answer.heading()
        );
        assert!(!answer.text.contains(HOSTILE), "{address} is not escaped");
        let invisible = answer.text.chars().find(|c| is_invisible(*c));
        assert_eq!(invisible, None, "{address}");
        for link in links(&answer.text) {
            // Static files are not pages.
            if !link.starts_with("/assets/") && known.insert(link.clone()) {
                next.push_back(link);
            }
        }
        assert!(
            known.len() < 3_000,
            "the number of addresses is not bounded: {known:?}"
        );
    }
    let machines = [seeded.worst, seeded.stuck, seeded.on_hold, seeded.bare];
    let machines = machines.map(|machine| format!("/machines/{machine}"));
    let sessions = [seeded.live, seeded.expired, seeded.ended];
    let sessions = sessions.map(|session| format!("/sessions/{session}"));
    for address in machines.iter().chain(&sessions) {
        assert!(known.contains(address), "no page links to {address}");
    }
}
