//! Walk: visits pages by following links, and collects what is wrong.

use crate::driver::Driver;
use crate::site::Site;
use bmdb_model::Provider;
use bmdb_testkit::TestDb;
use fantoccini::Locator;
use fantoccini::error::CmdError;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::error::Error;
use std::time::Duration;

const LOOK: &str = include_str!("look.js");
/// In pixels. Smaller text is hard to read on a phone.
const SMALLEST_TEXT: f64 = 12.0;
/// How many pages are visited that only differ in an id or in the value of a filter.
const ALIKE: usize = 3;

/// The addresses that operators type. Links must lead to them too.
const ENTRIES: [&str; 5] = ["/", "/machines", "/sessions", "/work", "/backoffs"];

pub(crate) struct Pages {
    /// How many different links there are.
    pub(crate) links: usize,
    /// One address of each kind of page.
    pub(crate) checked: Vec<String>,
}

/// Visits pages of every kind. They must look right in both colour schemes and at every width.
pub(crate) async fn everywhere(
    driver: &Driver,
    site: &Site,
    wrong: &mut Vec<String>,
) -> Result<Pages, Box<dyn Error>> {
    let mut queue: VecDeque<String> = ENTRIES.iter().map(|path| (*path).to_owned()).collect();
    let mut known: BTreeSet<String> = queue.iter().cloned().collect();
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    let mut checked = Vec::new();
    while let Some(path) = queue.pop_front() {
        let visited = kinds.entry(kind(&path)).or_default();
        *visited += 1;
        if *visited > ALIKE {
            continue;
        }
        let is_first = *visited == 1;
        driver.size(1280, 900).await?;
        driver.browser().goto(&site.url(&path)).await?;
        loads(driver, &path, wrong).await?;
        if is_first {
            looks(driver, &path, wrong).await?;
            checked.push(path.clone());
        }
        for link in links(driver, site).await? {
            if known.insert(link.clone()) {
                queue.push_back(link);
            }
        }
    }
    for path in ENTRIES {
        let linked = format!("a[href='{path}']");
        if driver.browser().find(Locator::Css(&linked)).await.is_err() {
            wrong.push(format!("nothing leads to {path}"));
        }
    }
    Ok(Pages {
        links: known.len(),
        checked,
    })
}

/// The page must load, have a title and a heading, and log no errors.
async fn loads(driver: &Driver, path: &str, wrong: &mut Vec<String>) -> Result<(), CmdError> {
    let status = "return performance.getEntriesByType('navigation')[0].responseStatus";
    let status = driver.browser().execute(status, vec![]).await?;
    if status != json!(200) {
        wrong.push(format!("{path}: answers {status}"));
    }
    let title = driver.browser().title().await?;
    let heading = driver
        .browser()
        .find(Locator::Css("h1"))
        .await?
        .text()
        .await?;
    if title.is_empty() || heading.is_empty() {
        wrong.push(format!("{path}: no title or no heading"));
    }
    let complaints = driver.complaints().await?;
    wrong.extend(
        complaints
            .into_iter()
            .map(|message| format!("{path}: {message}")),
    );
    Ok(())
}

/// Checks contrast, text size and width in both colour schemes, at the widths of a phone, a laptop and a
/// large screen.
async fn looks(driver: &Driver, path: &str, wrong: &mut Vec<String>) -> Result<(), CmdError> {
    for dark in [false, true] {
        driver.dark(dark).await?;
        for width in [360, 1280, 2560] {
            driver.size(width, 900).await?;
            let seen = driver
                .browser()
                .execute(LOOK, vec![json!(SMALLEST_TEXT)])
                .await?;
            let scheme = if dark { "dark" } else { "light" };
            for sentence in seen.as_array().into_iter().flatten() {
                let sentence = sentence.as_str().unwrap_or("?");
                wrong.push(format!("{path}, {scheme}, {width} px: {sentence}"));
            }
        }
    }
    driver.dark(false).await
}

/// The paths on this site that the page links to, without fragments.
async fn links(driver: &Driver, site: &Site) -> Result<Vec<String>, CmdError> {
    let all = "return [...document.querySelectorAll('a[href]')].map((a) => a.href)";
    let all = driver.browser().execute(all, vec![]).await?;
    let all = all.as_array().into_iter().flatten();
    let paths = all.filter_map(|link| {
        let link = link.as_str()?.strip_prefix(&site.origin)?;
        let path = link.split('#').next().unwrap_or("");
        Some(path.to_owned())
    });
    Ok(paths.filter(|path| !path.is_empty()).collect())
}

/// The address without ids and without the values of filters.
fn kind(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let is_id = |part: &str| part.len() == 36 && part.split('-').count() == 5;
    let parts = path
        .split('/')
        .map(|part| if is_id(part) { "…" } else { part });
    let names = query
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or(""));
    format!(
        "{}?{}",
        parts.collect::<Vec<_>>().join("/"),
        names.collect::<Vec<_>>().join("&")
    )
}

/// An open page must update itself without being loaded again.
pub(crate) async fn live(
    driver: &Driver,
    site: &Site,
    db: &TestDb,
    wrong: &mut Vec<String>,
) -> Result<(), Box<dyn Error>> {
    let browser = driver.browser();
    browser
        .goto(&site.url("/machines?prefix=Equinix/brand"))
        .await?;
    browser.execute("window.stays = true", vec![]).await?;
    let machine = db
        .machine()
        .provided(&Provider::EQUINIX, "brand-new")
        .planned();
    let machine = machine.create().await?;
    let fresh = format!("a[href$='{machine}']");
    let shown = browser
        .wait()
        .at_most(Duration::from_secs(10))
        .for_element(Locator::Css(&fresh));
    if shown.await.is_err() {
        wrong.push("/machines: a new machine does not appear on an open page".to_owned());
    }
    if browser
        .execute("return window.stays === true", vec![])
        .await?
        != json!(true)
    {
        wrong.push("/machines: the update loaded the page again".to_owned());
    }
    Ok(())
}

/// Every page must have its content and its links without scripts.
pub(crate) async fn without_scripts(
    driver: &Driver,
    site: &Site,
    paths: &[String],
    wrong: &mut Vec<String>,
) -> Result<(), Box<dyn Error>> {
    let browser = driver.browser();
    driver.scripts(false).await?;
    browser
        .goto("data:text/html,<title>still</title><script>document.title='moved'</script>")
        .await?;
    assert_eq!(
        browser.title().await?,
        "still",
        "scripts are not switched off"
    );
    for path in paths {
        browser.goto(&site.url(path)).await?;
        let main = browser.find(Locator::Css("main")).await?.text().await?;
        if main.lines().count() < 2 || links(driver, site).await?.len() < ENTRIES.len() {
            wrong.push(format!("{path}: content is missing without scripts"));
        }
    }
    // The filters of the list of machines must work too.
    browser.goto(&site.url("/machines")).await?;
    let form = browser
        .find(Locator::Css("main form select[name=provider]"))
        .await?;
    form.select_by_value("SiteB").await?;
    browser
        .find(Locator::Css("main form button"))
        .await?
        .click()
        .await?;
    let filtered = Locator::Css("main form select[name=provider] option[value=SiteB][selected]");
    let shown = browser.wait().at_most(Duration::from_secs(10));
    if shown.for_element(filtered).await.is_err() {
        let address = browser.current_url().await?;
        wrong.push(format!("the filter leads to {address}"));
    }
    driver.scripts(true).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::kind;

    #[test]
    fn addresses_that_only_differ_in_ids_and_values_are_of_one_kind() {
        let machine = "/machines/0b9a3c9e-4d2f-4f51-9a3c-1d2e3f4a5b6c";
        assert_eq!(kind(machine), "/machines/…?");
        assert_eq!(
            kind("/machines?provider=A&tag=b"),
            kind("/machines?provider=C&tag=d")
        );
        assert_ne!(kind("/machines?provider=A"), kind("/machines?tag=b"));
        assert_ne!(kind("/work"), kind("/machines"));
    }
}
