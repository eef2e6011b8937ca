//! Has the crate built anew for a new migration too: an edited one is noticed without this.

fn main() {
    println!("cargo::rerun-if-changed=migrations");
}
