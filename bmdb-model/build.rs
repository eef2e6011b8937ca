//! Rebuilds the crate when a migration is added. Cargo already notices edited ones.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
