//! The pictures in `docs/console`, taken when `BMDB_SCREENSHOTS` is set.

use crate::driver::Driver;
use crate::site::Site;
use std::error::Error;
use std::fs;
use std::path::Path;

/// Name, beginning of the address, width, height, and whether it is dark.
const PICTURES: [(&str, &str, u32, u32, bool); 5] = [
    ("overview", "/", 1280, 860, false),
    ("fleet", "/machines", 1280, 860, false),
    ("machine", "/machines/", 1280, 1200, false),
    ("dark", "/", 1280, 860, true),
    ("phone", "/machines", 360, 720, false),
];
/// More would be a weight for everybody who clones the repository.
const LARGEST: usize = 150 * 1024;

pub(crate) async fn take_all(
    driver: &Driver,
    site: &Site,
    pages: &[String],
) -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/console");
    fs::create_dir_all(&folder)?;
    for (name, begins, width, height, dark) in PICTURES {
        let is_it = |page: &&String| match begins.strip_suffix('/') {
            Some(parent) if !parent.is_empty() => page.starts_with(begins),
            _ => page.as_str() == begins,
        };
        let page = pages.iter().find(is_it).ok_or("no such page")?;
        driver.size(width, height).await?;
        driver.dark(dark).await?;
        driver.browser().goto(&site.url(page)).await?;
        let png = driver.browser().screenshot().await?;
        assert!(png.len() <= LARGEST, "{name}.png has {} bytes", png.len());
        fs::write(folder.join(format!("{name}.png")), png)?;
    }
    driver.dark(false).await?;
    Ok(())
}
