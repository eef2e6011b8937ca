//! Finds servers of a given version, and fetched ones.

use crate::installation::Installation;
use crate::lookup::{Places, expand, in_path};

/// The newest installed or fetched server of a major version.
#[must_use]
pub fn installed(major: u32) -> Option<Installation> {
    let places = Places::from_env();
    let on_path = in_path(&places.path).ok();
    let elsewhere = [&places.folders, &places.fetched];
    on_path
        .into_iter()
        .chain(elsewhere.into_iter().flat_map(|patterns| usable(patterns)))
        .filter(|installation| installation.version().0 == major)
        .max_by_key(Installation::version)
}

/// The servers that [`fetch`](crate::fetch()) has downloaded, newest first.
#[must_use]
pub fn fetched() -> Vec<Installation> {
    let mut fetched: Vec<_> = usable(&Places::from_env().fetched).collect();
    fetched.sort_by_key(|installation| std::cmp::Reverse(installation.version()));
    fetched
}

fn usable(patterns: &[String]) -> impl Iterator<Item = Installation> {
    let folders = patterns.iter().flat_map(|pattern| expand(pattern));
    folders.filter_map(|folder| Installation::at(&folder).ok())
}
