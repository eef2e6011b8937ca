//! Layout of every page: head, navigation, landmarks and footer.

use super::{Page, Section, stops};
use crate::app::App;
use crate::assets::{ICON, SCRIPT, STYLESHEET};
use crate::component::time;
use crate::link::Links;
use crate::moment::Moment;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use bmdb_model::text::escape;
use maud::{DOCTYPE, Markup, html};

pub(crate) fn respond(app: &App, page: Page) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        // A page shows the state of the fleet at one moment, which no cache may keep.
        (CACHE_CONTROL, "no-store"),
    ];
    let status = page.status;
    let document = document(app, &page).into_string();
    // Templates have no line breaks: every character that is escaped here comes from a value.
    (status, headers, escape(&document).into_owned()).into_response()
}

fn document(app: &App, page: &Page) -> Markup {
    let links = &app.links;
    let refresh = page.moment.map_or(0, |_| app.refresh.as_secs());
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (page.title) " · bmdb" }
                link rel="icon" type="image/svg+xml" href=(links.asset(&ICON.name));
                link rel="stylesheet" href=(links.asset(&STYLESHEET.name));
                script src=(links.asset(&SCRIPT.name)) defer {}
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.brand href=(links.overview()) { "bmdb" }
                    nav aria-label="Pages" { (navigation(links, page.section)) }
                    // Hidden until the script shows it: without scripts there are no updates to pause.
                    button #live type="button" hidden aria-pressed="false" { "Pause updates" }
                }
                main #main tabindex="-1" data-refresh=(refresh) {
                    @if page.moment.is_some() { (stops::banner(links, &app.pauses())) }
                    (breadcrumbs(page))
                    h1 { (page.title) }
                    (page.body)
                }
                footer.bottom {
                    p #read { @if let Some(moment) = page.moment { (read_at(moment)) } }
                    p #stale role="status" {}
                }
            }
        }
    }
}

fn navigation(links: &Links, current: Section) -> Markup {
    let entries = [
        (Section::Overview, "Overview", links.overview()),
        (Section::Machines, "Machines", links.machines()),
        (Section::Processes, "Processes", links.processes()),
        (Section::Sessions, "Sessions", links.sessions()),
        (Section::Work, "Work", links.work()),
        (Section::Backoffs, "Backoffs", links.backoffs()),
    ];
    html! {
        ul {
            @for (section, name, address) in entries {
                li { a href=(address) aria-current=[(section == current).then_some("true")] { (name) } }
            }
        }
    }
}

fn breadcrumbs(page: &Page) -> Markup {
    html! {
        @if !page.crumbs.is_empty() {
            nav.crumbs aria-label="Breadcrumbs" {
                ol {
                    @for (name, address) in &page.crumbs { li { a href=(address) { (name) } } }
                    li aria-current="page" { (page.title) }
                }
            }
        }
    }
}

fn read_at(moment: Moment) -> Markup {
    html! {
        "As of " (time::plain(moment.at)) " by the database's clock; read in "
        (moment.took.as_millis()) " ms."
    }
}
