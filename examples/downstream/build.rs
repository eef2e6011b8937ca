//! Rebuilds the crate when a migration is added. Cargo notices an edited one without this.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
