//! `cargo xtask ci`: runs every check, as continuous integration does.

use crate::tidy;
use bmdb_shell::{Done, Failure, cargo, run};
use serde_json::Value;
use std::env;

/// Run every check that a change must pass, and list the failed ones at the end.
///
/// Takes about 25 minutes on two cores, most of it for tests and compilation.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

/// A check and the command that runs it alone.
type Step = (&'static str, fn() -> Done);

/// Quick checks come first.
const STEPS: &[Step] = &[
    ("cargo fmt", || run(&mut cargo(["fmt", "--all", "--check"]))),
    ("cargo xtask tidy", tidy::run),
    ("cargo clippy", clippy),
    ("cargo doc", doc),
    ("cargo xtask api --check", || {
        run(&mut cargo(["xtask", "api", "--check"]))
    }),
    ("cargo package", package),
    // Also compares schema.rs with the migrations.
    ("cargo xtask migrate check", || {
        run(&mut cargo(["xtask", "migrate", "check"]))
    }),
    // The commands of the README.
    ("cargo xtask demo", demo),
    ("cargo xtask bench --quick", bench),
    ("cargo xtask soak --seconds 30", soak),
    ("cargo xtask test", || run(&mut cargo(["xtask", "test"]))),
    (ON_NEWEST, test_as_component),
    ("cargo test in examples/downstream", downstream),
];

/// The newest major version, with only the privileges of a component. One run covers both: no
/// behaviour is known to depend on their combination.
const ON_NEWEST: &str = "cargo xtask test --as-component --postgres 18";

/// The crates that are published. Those in tools/ depend on each other without versions.
const PUBLISHED: &[&str] = &[
    "bmdb-backoff",
    "bmdb-model",
    "bmdb-core",
    "bmdb-web",
    "bmdb-testkit",
    "bmdb-cli",
];

/// Features whose dependencies take minutes to compile, and concern only who measures.
const SLOW: &[&str] = &["bmdb-bench/comparison"];

pub(crate) fn run_all() -> Done {
    println!(
        "Running {} checks. On two cores this usually takes 25 minutes.",
        STEPS.len()
    );
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
    let features = features()?;
    let what = ["clippy", "--workspace", "--all-targets", "--features"];
    let strictly = [features.as_str(), "--", "-D", "warnings"];
    run(&mut cargo(what.into_iter().chain(strictly)))
}

fn doc() -> Done {
    let features = features()?;
    let what = ["doc", "--workspace", "--no-deps", "--features", &features];
    run(cargo(what).env("RUSTDOCFLAGS", "-Dwarnings"))
}

/// All features of the workspace but the slow ones, as cargo's option takes them.
fn features() -> Result<String, Failure> {
    let mut metadata = cargo(["metadata", "--no-deps", "--format-version", "1"]);
    let output = metadata.output().map_err(Failure::check)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::check(format!("cargo metadata failed: {said}")));
    }
    let metadata = serde_json::from_slice(&output.stdout).map_err(Failure::check)?;
    Ok(features_of(&metadata))
}

fn features_of(metadata: &Value) -> String {
    let mut features = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default();
        let own = package["features"].as_object().into_iter().flatten();
        features.extend(own.map(|(feature, _)| format!("{name}/{feature}")));
    }
    features.retain(|feature| !SLOW.contains(&feature.as_str()));
    features.join(",")
}

/// Packages what would be published. Building each package takes minutes and is left to the release;
/// `tidy` finds the usual fault, a file outside of the crate.
fn package() -> Done {
    let crates = PUBLISHED.iter().flat_map(|name| ["--package", name]);
    let how = ["--quiet", "--no-verify", "--allow-dirty"];
    run(&mut cargo(["package"].into_iter().chain(crates).chain(how)))
}

fn test_as_component() -> Done {
    run(&mut cargo(ON_NEWEST.split(' ').skip(1)))
}

/// Long enough for backoffs and the takeover from the killed worker.
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

/// Shows that everything can still be measured. Speed depends on the machine.
fn bench() -> Done {
    run(&mut cargo(["xtask", "bench", "--quick"]))
}

/// Injects every fault once, in an order drawn from a seed that is printed.
fn soak() -> Done {
    run(&mut cargo(["xtask", "soak", "--seconds", "30"]))
}

/// Tests a crate that depends on bmdb, with plain cargo and no server set up for it.
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

#[cfg(test)]
mod tests {
    use super::features_of;
    use serde_json::json;

    #[test]
    fn every_feature_is_checked_but_the_slow_ones() {
        let metadata = json!({"packages": [
            {"name": "bmdb-core", "features": {"fleet": ["dep:serde"], "serde": []}},
            {"name": "bmdb-bench", "features": {"comparison": []}},
            {"name": "xtask", "features": {}},
        ]});
        assert_eq!(features_of(&metadata), "bmdb-core/fleet,bmdb-core/serde");
    }
}
