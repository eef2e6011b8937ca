//! The screenshots in `docs/console`, taken if `BMDB_SCREENSHOTS` is set.

use crate::driver::Driver;
use crate::site::Site;
use bmdb_model::MachineId;
use std::error::Error;
use std::fs;
use std::path::Path;

/// Stands for the address of a machine.
const MACHINE: &str = "/machines/…";
/// Name, address, width, height, and whether the colour scheme is dark.
const PICTURES: [(&str, &str, u32, u32, bool); 6] = [
    ("overview", "/", 1280, 860, false),
    ("fleet", "/machines", 1280, 860, false),
    ("processes", "/processes", 1280, 620, false),
    ("machine", MACHINE, 1120, 760, false),
    ("dark", "/", 1280, 860, true),
    ("phone", "/machines", 360, 720, false),
];
/// In bytes. Every clone of the repository downloads them.
const LARGEST: usize = 150 * 1024;

pub(crate) async fn take_all(
    driver: &Driver,
    site: &Site,
    machine: MachineId,
) -> Result<(), Box<dyn Error>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/console");
    fs::create_dir_all(&folder)?;
    for (name, address, width, height, dark) in PICTURES {
        let page = match address {
            MACHINE => format!("/machines/{machine}"),
            address => address.to_owned(),
        };
        driver.size(width, height).await?;
        driver.dark(dark).await?;
        driver.browser().goto(&site.url(&page)).await?;
        let png = driver.browser().screenshot().await?;
        let size = png.len();
        assert!(
            size <= LARGEST,
            "{name}.png has {size} bytes: make it smaller"
        );
        fs::write(folder.join(format!("{name}.png")), png)?;
    }
    driver.dark(false).await?;
    Ok(())
}
