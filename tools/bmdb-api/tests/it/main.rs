//! Tests of the listing from the outside: the program lists a small workspace.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const LIBRARY: &str = "
    #[derive(Debug, PartialEq)]
    #[non_exhaustive]
    pub struct Point { pub x: u32, y: u32 }
    impl Point {
        pub const fn y(&self) -> u32 { self.y }
        #[doc(hidden)]
        pub fn hidden(&self) {}
        fn private(&self) {}
    }
    impl std::str::FromStr for Point {
        type Err = ();
        fn from_str(_: &str) -> Result<Self, ()> { Err(()) }
    }
    mod private { pub fn reexported() {} pub fn unreachable() {} }
    pub use private::reexported;
    pub mod internal { pub fn unstable() {} }
";

const LISTING: &str = "\
pub mod small_library
#[non_exhaustive] pub struct small_library::Point
pub small_library::Point::x: u32
pub const fn small_library::Point::y(&self) -> u32
impl core::cmp::PartialEq for small_library::Point
impl core::fmt::Debug for small_library::Point
impl core::str::traits::FromStr for small_library::Point
pub type small_library::Point::Err = ()
pub fn small_library::reexported()
";

#[test]
fn the_listing_has_the_public_items_and_a_change_of_one_fails_the_check() -> Result {
    let workspace = workspace()?;
    assert!(api(&workspace, &[])?.status.success());
    let listing = fs::read_to_string(workspace.join("docs/api/small-library.txt"))?;
    assert_eq!(listing, LISTING);
    assert!(api(&workspace, &["--check"])?.status.success());

    let changed = LIBRARY.replace("pub const fn y(&self)", "pub const fn y(self)");
    fs::write(workspace.join("library/src/lib.rs"), changed)?;
    let output = api(&workspace, &["--check"])?;
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout)?;
    let differences: Vec<&str> = stdout
        .lines()
        .filter(|line| line.contains(".txt: "))
        .collect();
    assert_eq!(
        differences,
        [
            "docs/api/small-library.txt: - pub const fn small_library::Point::y(&self) -> u32",
            "docs/api/small-library.txt: + pub const fn small_library::Point::y(self) -> u32",
        ]
    );
    let stderr = String::from_utf8(output.stderr)?;
    assert!(
        stderr.contains("write them with `cargo xtask api`"),
        "{stderr}"
    );
    assert!(stderr.contains("CHANGELOG.md"), "{stderr}");

    let output = api(&workspace, &["--count"])?;
    let stdout = String::from_utf8(output.stdout)?;
    let count = "small-library: 6 items, 3 trait implementations";
    assert!(stdout.contains(count), "{stdout}");
    Ok(())
}

/// A workspace with a published library and an unpublished one.
fn workspace() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("small-workspace");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    let members = "[workspace]\nresolver = \"3\"\nmembers = [\"library\", \"tool\"]\n";
    for (folder, name, publish) in [
        ("library", "small-library", "version = \"0.1.0\""),
        ("tool", "small-tool", "publish = false"),
    ] {
        fs::create_dir_all(root.join(folder).join("src"))?;
        let manifest = format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n{publish}\n");
        fs::write(root.join(folder).join("Cargo.toml"), manifest)?;
        fs::write(root.join(folder).join("src/lib.rs"), LIBRARY)?;
    }
    fs::write(root.join("Cargo.toml"), members)?;
    Ok(root)
}

fn api(workspace: &Path, arguments: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bmdb-api"));
    command
        .args(arguments)
        .arg("--manifest-path")
        .arg(workspace.join("Cargo.toml"));
    // Documents of the small workspace do not belong among those of this one.
    Ok(command.env_remove("CARGO_TARGET_DIR").output()?)
}
