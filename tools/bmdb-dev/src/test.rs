//! `cargo xtask test`: boots one server for all test processes, runs the tests, and stops the server.

use bmdb_dev::server::{self, Network};
use bmdb_shell::{Done, Failure, cargo, succeeds, tool};
use bmdb_testkit::{Profile, Server};
use std::ffi::OsStr;
use std::{env, thread};

/// Environment variable: the server to test on.
const SERVER: &str = "BMDB_TEST_DATABASE_URL";

/// Environment variable: the folder of the server's programs.
const PG_BIN: &str = "BMDB_PG_BIN";

/// Environment variable: the role whose privileges the tested programs have.
const ROLE: &str = "BMDB_TEST_ROLE";

/// The packages whose tests run with the privileges of a component.
const COMPONENTS: &str = "package(bmdb-core) + package(bmdb-model) + package(bmdb-soak)";

/// The profile of cargo-nextest, in .config/nextest.toml, of the tests that depend on the server.
const SERVER_ONLY: [&str; 2] = ["--profile", "server-only"];

/// Environment variable: how many tests cargo-nextest runs at once.
const TEST_THREADS: &str = "NEXTEST_TEST_THREADS";

/// Tests at once for each processor, because half of their time they wait for timers, disks and restarts.
const PER_PROCESSOR: usize = 2;

/// Environment variable: tests fetch nothing.
const OFFLINE: &str = "BMDB_TEST_OFFLINE";

/// Run every test of the workspace on one PostgreSQL server, which is booted for them.
///
/// Runs `cargo nextest run` if cargo-nextest is installed, else `cargo test`, and then the examples
/// in the documentation. Set BMDB_TEST_DATABASE_URL to use a running server instead.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct Args {
    /// Use this running server. The tests create and drop databases on it.
    #[arg(long, value_name = "URL")]
    database_url: Option<String>,
    /// Test on each of these major versions, fetched if they are not installed: `18`, `14,18` or
    /// `14..18`.
    #[arg(long, value_name = "MAJORS", value_parser = majors, conflicts_with = "database_url")]
    postgres: Option<Majors>,
    /// Test bmdb-core, bmdb-model and bmdb-soak, or what ARGS name, with only the privileges of a
    /// component (bmdb_component) instead of a superuser's.
    #[arg(long)]
    as_component: bool,
    /// Run only the tests whose result can depend on the server's version or on privileges, as
    /// .config/nextest.toml says, and not the examples in the documentation. Needs cargo-nextest; without
    /// it everything runs.
    #[arg(long, conflicts_with = "runner")]
    server_only: bool,
    /// Run only the stress, for this many seconds instead of five, and its controls.
    #[arg(long, value_name = "SECONDS", conflicts_with = "runner",
          value_parser = clap::value_parser!(u16).range(1..=600))]
    stress: Option<u16>,
    /// Repeat the random choices of an earlier stress, which printed this number.
    #[arg(long, value_name = "NUMBER", requires = "stress")]
    seed: Option<u64>,
    #[command(flatten)]
    network: Network,
    /// Filters and options for the test runner. With any, the examples in the documentation do not run.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGS"
    )]
    runner: Vec<String>,
}

impl Args {
    fn role(&self) -> Option<(&'static str, &'static OsStr)> {
        self.as_component.then_some((ROLE, OsStr::new("component")))
    }

    fn profile(&self) -> &'static [&'static str] {
        if self.server_only { &SERVER_ONLY } else { &[] }
    }
}

/// Major versions of PostgreSQL.
#[derive(Debug, Clone)]
struct Majors(Vec<u32>);

fn majors(text: &str) -> Result<Majors, String> {
    let major = |text: &str| {
        text.parse()
            .ok()
            .filter(|major| (14..100).contains(major))
            .ok_or_else(|| format!("invalid major version {text:?}: expected 14 or newer"))
    };
    if let Some((first, last)) = text.split_once("..") {
        let (first, last) = (major(first)?, major(last)?);
        let range: Vec<u32> = (first..=last).collect();
        return if range.is_empty() {
            Err(format!("invalid range: {first} is above {last}"))
        } else {
            Ok(Majors(range))
        };
    }
    text.split(',')
        .map(major)
        .collect::<Result<_, _>>()
        .map(Majors)
}

pub(crate) fn run(args: &Args) -> Done {
    println!("{}", announcement(args));
    for major in args.postgres.iter().flat_map(|majors| &majors.0) {
        let (server, installation) = server::start_version(*major, Profile::Fast, args.network)?;
        println!("server: {} ({installation})", server.url());
        // Some tests boot servers of their own.
        tests_on(args, &server, &[(PG_BIN, installation.bin().as_os_str())])?;
    }
    if args.postgres.is_some() {
        return Ok(());
    }
    let server = match &args.database_url {
        Some(url) => Server::running(url).map_err(Failure::check)?,
        None => server::start(Profile::Fast, args.network)?,
    };
    println!("server: {}", server.url());
    tests_on(args, &server, &[])
}

/// What the run does and how long it takes, before anything slow begins.
fn announcement(args: &Args) -> String {
    if args.runner.is_empty() && args.stress.is_none() && !args.server_only {
        "Running all tests on a PostgreSQL server. On two cores this usually takes 8 minutes, and as \
         long again to compile the first time."
            .to_owned()
    } else {
        "Running the chosen tests on a PostgreSQL server. Compiling may take some minutes the first \
         time."
            .to_owned()
    }
}

fn tests_on(args: &Args, server: &Server, more: &[(&str, &OsStr)]) -> Done {
    let mut variables = vec![(SERVER, OsStr::new(server.url()))];
    let threads = thread::available_parallelism().map_or(1, usize::from) * PER_PROCESSOR;
    let threads = threads.to_string();
    // An option among ARGS takes precedence.
    if env::var_os(TEST_THREADS).is_none() {
        variables.push((TEST_THREADS, OsStr::new(&threads)));
    }
    variables.extend_from_slice(more);
    if args.network.offline {
        variables.push((OFFLINE, OsStr::new("1")));
    }
    let tests = match args.stress {
        Some(seconds) => {
            variables.extend(args.role());
            run_stress(seconds, args.seed, &variables)
        }
        None => run_tests(args, &variables),
    };
    if tests.is_err() && server.folder().is_some() {
        println!(
            "The databases of failed tests were deleted with the server. To keep them, run `cargo \
             xtask pg start` and test on the URL that it prints."
        );
    }
    tests
}

/// The stress, then its controls.
fn run_stress(seconds: u16, seed: Option<u64>, variables: &[(&str, &OsStr)]) -> Done {
    let seconds = seconds.to_string();
    for options in [&[seconds.as_str()][..], &["10", "--without", "all"]] {
        let mut stress = tool("bmdb-soak")?;
        stress.args(["stress", "--seconds"]).args(options);
        if let Some(seed) = seed {
            stress.args(["--seed", &seed.to_string()]);
        }
        bmdb_shell::run(stress.envs(variables.iter().copied()))?;
    }
    Ok(())
}

fn run_tests(args: &Args, variables: &[(&str, &OsStr)]) -> Done {
    let is_nextest = succeeds(&mut cargo(["nextest", "--version"]));
    let runner: &[&str] = if is_nextest {
        &["nextest", "run"]
    } else {
        &["test", "--lib", "--bins", "--tests", "--examples"]
    };
    // `--workspace` would override a package that ARGS name.
    let one_package = ["-p", "--package"]
        .iter()
        .any(|p| args.runner.iter().any(|a| a == p));
    let everything: &[&str] = if one_package {
        &["--all-features"]
    } else {
        &["--workspace", "--all-features"]
    };
    let profile = if is_nextest { args.profile() } else { &[] };
    let run = |filter: &[&str], role: Option<(&str, &OsStr)>| {
        let options = runner.iter().chain(everything).chain(profile);
        let mut tests = cargo(options.chain(filter).copied());
        tests.args(&args.runner).envs(role);
        bmdb_shell::run(tests.envs(variables.iter().copied()))
    };
    if !args.runner.is_empty() {
        return run(&[], args.role());
    }
    match (args.as_component, is_nextest) {
        (false, _) => run(&[], None)?,
        // One build serves both runs. The testkit's own tests need a superuser.
        (true, true) => {
            run(&["-E", COMPONENTS], args.role())?;
            run(&["-E", &format!("not ({COMPONENTS})")], None)?;
        }
        (true, false) => {
            run(
                &["--exclude", "bmdb-testkit", "--exclude", "xtask"],
                args.role(),
            )?;
            run(&["--exclude", "bmdb-core", "--exclude", "bmdb-model"], None)?;
        }
    }
    if !profile.is_empty() {
        return Ok(());
    }
    let mut examples = cargo(["test", "--doc"].iter().chain(everything).copied());
    bmdb_shell::run(examples.envs(variables.iter().copied()))
}

#[cfg(test)]
mod tests {
    use super::majors;

    #[test]
    fn major_versions_are_a_number_a_list_or_a_range() {
        for (text, expected) in [
            ("18", vec![18]),
            ("14,18", vec![14, 18]),
            ("14..16", vec![14, 15, 16]),
        ] {
            assert_eq!(majors(text).unwrap().0, expected);
        }
        for wrong in ["", "13", "18..14", "x", "14,", "14..", "9.6"] {
            assert!(majors(wrong).is_err(), "{wrong}");
        }
    }
}
