//! `cargo xtask test`: one server for all test processes, then the tests, then the server goes.

use crate::shell::{self, Done, Failure, cargo, succeeds};
use bmdb_testkit::{Profile, Server};

/// How the tests learn of the server.
const SERVER: &str = "BMDB_TEST_DATABASE_URL";

/// Run every test of the workspace, on one PostgreSQL server that is booted for them.
///
/// Runs `cargo nextest run` where cargo-nextest is installed, else `cargo test`, and then the
/// documentation's examples. BMDB_TEST_DATABASE_URL names a running server to use instead of
/// booting one.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Test on this running server; databases are created on it and dropped.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Filters and options for the test runner; with any, the documentation's examples do not run.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    runner: Vec<String>,
}

pub(crate) fn run(args: &Args) -> Done {
    let server = match &args.database_url {
        Some(url) => Server::running(url),
        None => Server::start(Profile::Fast),
    }
    .map_err(Failure::check)?;
    println!("server: {}", server.url());

    let tests = run_tests(args, server.url());
    if tests.is_err() && server.folder().is_some() {
        println!(
            "The databases of failed tests went with the server. To keep them: `cargo xtask pg \
             start`, then test on the URL it prints."
        );
    }
    tests
}

fn run_tests(args: &Args, url: &str) -> Done {
    let nextest = succeeds(&mut cargo(["nextest", "--version"]));
    let runner: &[&str] = if nextest {
        &["nextest", "run"]
    } else {
        &["test", "--lib", "--bins", "--tests", "--examples"]
    };
    // Given beside a package, `--workspace` would win.
    let one_package = ["-p", "--package"]
        .iter()
        .any(|p| args.runner.iter().any(|a| a == p));
    let everything: &[&str] = if one_package {
        &["--all-features"]
    } else {
        &["--workspace", "--all-features"]
    };
    let mut tests = cargo(runner.iter().chain(everything).copied());
    shell::run(tests.args(&args.runner).env(SERVER, url))?;
    if !args.runner.is_empty() {
        return Ok(());
    }
    let mut examples = cargo(["test", "--doc"].iter().chain(everything).copied());
    shell::run(examples.env(SERVER, url))
}
