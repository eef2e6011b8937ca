//! `cargo xtask ci`: every check, as the continuous integration runs it.

use crate::shell::{Done, Failure, cargo, run};
use crate::tidy;
use std::env;

/// Run every check that a change must pass; what fails is summed up at the end.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// A check and the command that runs it alone.
type Step = (&'static str, fn() -> Done);

/// The quick ones first.
const STEPS: &[Step] = &[
    ("cargo fmt", || run(&mut cargo(["fmt", "--all", "--check"]))),
    ("cargo xtask tidy", tidy::run),
    ("cargo clippy", clippy),
    ("cargo doc", doc),
    ("cargo package", package),
    // Compares schema.rs with what they make, too.
    ("cargo xtask migrate check", || {
        run(&mut cargo(["xtask", "migrate", "check"]))
    }),
    // As the README has it, from the outside.
    ("cargo xtask demo", demo),
    ("cargo xtask bench --quick", bench),
    ("cargo xtask soak --seconds 30", soak),
    ("cargo xtask test", || run(&mut cargo(["xtask", "test"]))),
    (ON_NEWEST, test_as_component),
    ("cargo test in examples/downstream", downstream),
];

/// With the newest major version that the tests know, and with no more privileges than a component has:
/// one run for both, since nothing is known to depend on the two together.
const ON_NEWEST: &str = "cargo xtask test --as-component --postgres 18";

pub(crate) fn run_all() -> Done {
    let mut failed = Vec::new();
    for (name, step) in STEPS {
        println!("\n== {name}");
        if let Err(failure) = step() {
            println!("{}", failure.message().unwrap_or("failed"));
            failed.push(*name);
        }
    }
    if failed.is_empty() {
        println!("\nall {} checks passed", STEPS.len());
        return Ok(());
    }
    Err(Failure::check(format!("failed: {}", failed.join(", "))))
}

fn clippy() -> Done {
    let what = ["clippy", "--workspace", "--all-targets", "--all-features"];
    run(&mut cargo(what.into_iter().chain(["--", "-D", "warnings"])))
}

fn doc() -> Done {
    let what = ["doc", "--workspace", "--all-features", "--no-deps"];
    run(cargo(what).env("RUSTDOCFLAGS", "-Dwarnings"))
}

/// What would be published. Building each crate from it takes minutes and is left to the release; what
/// most often fails there, a file that lies outside of the crate, is for `tidy`.
fn package() -> Done {
    let what = ["package", "--workspace", "--quiet"];
    let without = ["--exclude", "xtask", "--exclude", "bmdb-soak"];
    let how = ["--no-verify", "--allow-dirty"];
    run(&mut cargo(what.into_iter().chain(without).chain(how)))
}

fn test_as_component() -> Done {
    run(&mut cargo(ON_NEWEST.split(' ').skip(1)))
}

/// A short one: most of the fleet starts at once, the rest of the time shows the backoffs and the
/// takeover.
fn demo() -> Done {
    run(&mut cargo([
        "xtask",
        "demo",
        "--machines",
        "60",
        "--seconds",
        "50",
    ]))
}

/// Whether everything can still be measured; how fast it is depends on the machine.
fn bench() -> Done {
    run(&mut cargo(["xtask", "bench", "--quick"]))
}

/// Every fault once; which comes when differs from run to run, and the seed is printed.
fn soak() -> Done {
    run(&mut cargo(["xtask", "soak", "--seconds", "30"]))
}

/// As somebody does who depends on bmdb: with plain cargo, and nothing is set up for the tests.
fn downstream() -> Done {
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let steps: [&[&str]; 3] = [
        &["fmt", "--check"],
        &["clippy", "--all-targets", "--", "-D", "warnings"],
        &["test"],
    ];
    for step in steps {
        let (what, options) = step.split_at(1);
        let manifest = ["--manifest-path", "examples/downstream/Cargo.toml"];
        let mut command = cargo([what, &manifest, options].concat());
        command.env("CARGO_TARGET_DIR", &target);
        run(command.env_remove("BMDB_TEST_DATABASE_URL"))?;
    }
    Ok(())
}
