//! The console in a real browser: every page, by mouse and by keyboard.

#![allow(clippy::print_stdout, reason = "it prints what it skips")]
#![allow(clippy::unwrap_used, reason = "a failed test panics")]

mod driver;
#[path = "../it/fleet.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
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

/// One test for all, because starting a browser takes longer than visiting all pages.
#[tokio::test(flavor = "multi_thread")]
async fn the_console_works_in_a_browser() -> Result<(), Box<dyn Error>> {
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
        "{} pages, {} of them checked in all sizes",
        pages.links,
        pages.checked.len()
    );
    keyboard::walk(&driver, &site, &mut wrong).await?;
    walk::live(&driver, &site, &db, &mut wrong).await?;
    walk::without_scripts(&driver, &site, &pages.checked, &mut wrong).await?;

    if env::var_os("BMDB_SCREENSHOTS").is_some() && wrong.is_empty() {
        picture::take_all(&driver, &site, seeded.worst).await?;
    }
    driver.end().await?;
    site.end().await;
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
    Ok(())
}
