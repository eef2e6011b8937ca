//! Keyboard: the console without a mouse.

use crate::driver::Driver;
use crate::site::Site;
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::error::CmdError;
use fantoccini::key::Key;
use std::collections::BTreeSet;
use std::error::Error;

const FOCUS: &str = include_str!("focus.js");
/// More tab stops than there are before the first machine.
const STEPS: usize = 100;

/// On the page of machines, Tab must reach the navigation, the filters and the table, the focus must be
/// visible, and Enter must follow a link.
pub(crate) async fn walk(
    driver: &Driver,
    site: &Site,
    wrong: &mut Vec<String>,
) -> Result<(), Box<dyn Error>> {
    let browser = driver.browser();
    driver.size(1280, 900).await?;
    browser.goto(&site.url("/machines")).await?;
    let mut places = BTreeSet::new();
    let mut machine = String::new();
    for _ in 0..STEPS {
        press(driver, Key::Tab).await?;
        let focus = browser.execute(FOCUS, vec![]).await?;
        let Some(place) = focus["place"].as_str() else {
            continue;
        };
        places.insert(place.to_owned());
        if focus["visible"] != true {
            wrong.push(format!(
                "/machines: the focus of {} is not visible",
                focus["what"]
            ));
        }
        let leads = focus["leads"].as_str().unwrap_or_default();
        if place == "table" && leads.starts_with("/machines/") {
            machine = leads.to_owned();
            break;
        }
    }
    for needed in ["nav", "form", "table"] {
        if !places.contains(needed) {
            wrong.push(format!("/machines: Tab does not reach the {needed}"));
        }
    }
    press(driver, Key::Enter).await?;
    if browser.current_url().await?.path() != machine {
        wrong.push("/machines: Enter does not follow the link to a machine".to_owned());
    }
    Ok(())
}

async fn press(driver: &Driver, key: Key) -> Result<(), CmdError> {
    let value = char::from(key);
    let keys = KeyActions::new("keyboard".to_owned())
        .then(KeyAction::Down { value })
        .then(KeyAction::Up { value });
    driver.browser().perform_actions(keys).await
}
