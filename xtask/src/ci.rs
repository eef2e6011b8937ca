//! `cargo xtask ci`: runs every check, as continuous integration does.

use crate::tidy;
use bmdb_shell::{
    Done, Failure, WHOLE_WORKSPACE, WITH_THE_TESTS, cargo, check_tool, metadata, run,
};
use serde_json::Value;
use std::env;
use std::process::Command;
use std::time::{Duration, Instant};

/// Run every check that a change must pass, and list the failed ones at the end.
///
/// Takes less than 30 minutes on two idle cores, most of it for tests and compilation. Prints at the end
/// how long each check took.
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
    ("cargo check of each tool alone", tools_alone),
    ("cargo package", package),
    // What the steps below run.
    ("cargo build", build),
    ("cargo xtask api --check", || run(&mut task("api --check"))),
    // Also compares schema.rs with the migrations.
    ("cargo xtask migrate check", || {
        run(&mut task("migrate check"))
    }),
    // The commands of the README.
    ("cargo xtask demo", demo),
    ("cargo xtask bench --quick", bench),
    ("cargo xtask soak --seconds 30", soak),
    ("cargo xtask test", || run(&mut task("test"))),
    (ON_NEWEST, || run(&mut task(ON_NEWEST))),
    ("cargo test in examples/downstream", downstream),
];

/// The newest major version, with only the privileges of a component. One run covers both: no
/// behaviour is known to depend on their combination. Without `--server-only` it runs every test.
const ON_NEWEST: &str = "cargo xtask test --as-component --postgres 18 --server-only";

/// The crates that are published. Those in tools/ depend on each other without versions.
const PUBLISHED: &[&str] = &[
    "bmdb-backoff",
    "bmdb-model",
    "bmdb-core",
    "bmdb-web",
    "bmdb-testkit",
    "bmdb-cli",
];

pub(crate) fn run_all() -> Done {
    println!(
        "Running {} checks. On two idle cores this usually takes less than 30 minutes.",
        STEPS.len()
    );
    let mut failed = Vec::new();
    let mut took = Vec::new();
    for (name, step) in STEPS {
        println!("\n== {name}");
        let began = Instant::now();
        let done = step();
        took.push((*name, began.elapsed()));
        if let Err(failure) = done {
            println!("{}", failure.message().unwrap_or("failed"));
            failed.push(*name);
        }
    }
    print_durations(&took);
    if failed.is_empty() {
        println!("\nall {} checks passed", STEPS.len());
        return Ok(());
    }
    Err(Failure::check(format!("failed: {}", failed.join(", "))))
}

/// Shows where the time goes, before somebody has to look for it.
fn print_durations(took: &[(&str, Duration)]) {
    println!("\n== seconds");
    for (name, duration) in took {
        println!("{:>6} {name}", duration.as_secs());
    }
    let all: Duration = took.iter().map(|(_, duration)| *duration).sum();
    println!("{:>6} in all", all.as_secs());
}

fn clippy() -> Done {
    let what = ["clippy"]
        .into_iter()
        .chain(WHOLE_WORKSPACE.iter().copied());
    run(&mut cargo(what.chain(["--", "-D", "warnings"])))
}

/// With the examples, because only with targets that have dev-dependencies does cargo give the dependencies
/// the features that clippy has checked them with; otherwise it would check them again.
fn doc() -> Done {
    let what = [
        "doc",
        "--workspace",
        "--all-features",
        "--no-deps",
        "--lib",
        "--examples",
    ];
    let mut command = cargo(what);
    for program in documented_programs()? {
        command.args(["--bin", &program]);
    }
    run(command.env("RUSTDOCFLAGS", "-Dwarnings"))
}

/// The programs without `doc = false`, which `--bins` would document all the same.
fn documented_programs() -> Result<Vec<String>, Failure> {
    let metadata = metadata(&["--no-deps"])?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let packages = list(&metadata["packages"]);
    let targets = packages
        .iter()
        .flat_map(|package| list(&package["targets"]));
    let documented = targets.filter(|target| {
        target["doc"] == true && list(&target["kind"]).contains(&Value::from("bin"))
    });
    Ok(documented
        .filter_map(|target| Some(target["name"].as_str()?.to_owned()))
        .collect())
}

/// The steps below use tools that are built with the features of the tests.
fn tools_alone() -> Done {
    ["bmdb-dev", "bmdb-soak", "bmdb-bench"]
        .into_iter()
        .try_for_each(check_tool)
}

fn build() -> Done {
    run(&mut cargo(
        ["build"].into_iter().chain(WHOLE_WORKSPACE.iter().copied()),
    ))
}

/// A task, typed as in the README, that uses what `cargo build` has built.
fn task(typed: &str) -> Command {
    let typed = typed.strip_prefix("cargo xtask ").unwrap_or(typed);
    let mut command = cargo(["xtask"].into_iter().chain(typed.split(' ')));
    command.env(WITH_THE_TESTS, "1");
    command
}

/// Packages what would be published. Building each package takes minutes and is left to the release;
/// `tidy` finds the usual fault, a file outside of the crate.
fn package() -> Done {
    let crates = PUBLISHED.iter().flat_map(|name| ["--package", name]);
    let how = ["--quiet", "--no-verify", "--allow-dirty"];
    run(&mut cargo(["package"].into_iter().chain(crates).chain(how)))
}

/// Long enough for backoffs and the takeover from the killed worker.
fn demo() -> Done {
    run(&mut task("demo --machines 60 --seconds 50"))
}

/// Shows that everything can still be measured. Speed depends on the machine.
fn bench() -> Done {
    run(&mut task("bench --quick"))
}

/// Injects every fault once, in an order drawn from a seed that is printed.
fn soak() -> Done {
    run(&mut task("soak --seconds 30"))
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
