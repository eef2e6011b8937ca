//! `bmdb`, the command line of the Bare Metal Database.

fn main() {}
