//! Hashes the migrations' SQL, so that an edited migration gets a template database of its own.

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let migrations = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default())
        .join("../bmdb-model/migrations");
    println!("cargo::rerun-if-changed=build.rs");
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    // Outside the workspace bmdb-model comes from a registry, where the SQL of a named migration
    // never changes: there the names alone, which the template's name contains too, identify it.
    if migrations.is_dir() {
        println!("cargo::rerun-if-changed={}", migrations.display());
        let mut files = Vec::new();
        collect(&migrations, &mut files);
        files.sort();
        for byte in files.iter().flat_map(|f| fs::read(f).unwrap_or_default()) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    println!("cargo::rustc-env=BMDB_MIGRATIONS_SQL_HASH={hash:016x}");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), files);
        } else {
            files.push(entry.path());
        }
    }
}
