//! The console as people meet it: in a real browser, every page, by mouse and by keyboard.

#![allow(clippy::print_stdout, reason = "what is not tested is told")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should panic")]

mod driver;
#[path = "../it/fleet.rs"]
#[allow(dead_code, reason = "other tests look at more of it")]
mod fleet;
mod keyboard;
mod picture;
mod site;
mod walk;

use bmdb_testkit::TestDb;
use driver::{Driver, INSTALL};
use site::Site;
use std::env;
use std::error::Error;
use std::time::Duration;

/// All of it in one browser: starting one takes longer than looking at all pages.
#[tokio::test(flavor = "multi_thread")]
async fn the_console_is_sound_in_a_browser() -> Result<(), Box<dyn Error>> {
    let Some(driver) = Driver::start().await? else {
        assert!(
            env::var_os("CI").is_none(),
            "no browser to test with: {INSTALL}"
        );
        println!("NOT TESTED: there is no chromium or no chromedriver; {INSTALL}");
        return Ok(());
    };
    let db = TestDb::new().await?;
    let seeded = fleet::seed(&db).await?;
    let site = Site::start(&db, Duration::from_secs(1)).await?;

    let mut wrong = Vec::new();
    let pages = walk::everywhere(&driver, &site, &mut wrong).await?;
    println!(
        "{} pages, {} of them looked at",
        pages.links,
        pages.looked_at.len()
    );
    keyboard::walk(&driver, &site, &mut wrong).await?;
    walk::live(&driver, &site, &db, &mut wrong).await?;
    walk::without_scripts(&driver, &site, &pages.looked_at, &mut wrong).await?;

    if env::var_os("BMDB_SCREENSHOTS").is_some() && wrong.is_empty() {
        picture::take_all(&driver, &site, seeded.worst).await?;
    }
    driver.end().await?;
    site.end().await;
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    Ok(())
}
