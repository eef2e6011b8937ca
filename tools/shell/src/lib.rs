//! Running commands visibly, and ending with the right exit code.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a task reports on the terminal"
)]

use serde_json::Value;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// Environment variable: everything of the workspace is built for its tests anyway, so programs come from
/// that build. On its own a program has other features, and its dependencies would be built once more.
pub const WITH_THE_TESTS: &str = "BMDB_BUILD_WITH_THE_TESTS";

/// The options that build the whole workspace as its tests need it.
pub const WHOLE_WORKSPACE: &[&str] = &["--workspace", "--all-features", "--all-targets"];

/// Why a task did not succeed.
#[derive(Debug)]
pub enum Failure {
    /// A check found something, or a step went wrong.
    Check(String),
    /// The request itself was wrong.
    Usage(String),
    /// A command ended with this code, having said why itself.
    Command(u8),
}

/// How a task ends.
pub type Done = Result<(), Failure>;

impl Failure {
    /// A check found something, or a step went wrong.
    pub fn check(message: impl ToString) -> Self {
        Self::Check(message.to_string())
    }

    /// The request itself was wrong.
    pub fn usage(message: impl ToString) -> Self {
        Self::Usage(message.to_string())
    }

    /// What to print, unless the command that failed has said it.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        match self {
            Self::Check(message) | Self::Usage(message) => Some(message),
            Self::Command(_) => None,
        }
    }

    /// The exit code.
    #[must_use]
    pub fn code(&self) -> u8 {
        match self {
            Self::Check(_) => 1,
            Self::Usage(_) => 2,
            Self::Command(code) => *code,
        }
    }
}

/// The exit code of a task, after its message has been printed on standard error.
#[must_use]
pub fn exit(done: Done) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.message() {
                eprintln!("cargo xtask: {message}");
            }
            ExitCode::from(failure.code())
        }
    }
}

/// The workspace's folder, also where the program was built in another checkout.
#[must_use]
pub fn root() -> PathBuf {
    let package =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let above = Path::new(&package).ancestors();
    above
        .skip(1)
        .find(|folder| folder.join("xtask").is_dir())
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// A cargo command in the workspace's folder.
pub fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    // Cargo sets these for this program's package. The build script of ring observes them, so ring and
    // all that depends on it would be compiled again for each program that starts cargo.
    let names = env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    for name in names.filter(|name| is_of_a_package(name)) {
        command.env_remove(name);
    }
    command
}

fn is_of_a_package(variable: &str) -> bool {
    variable.starts_with("CARGO_PKG_") || variable.starts_with("CARGO_MANIFEST_")
}

/// Prints the command as one would type it, runs it, and passes its failure on.
///
/// # Errors
/// The command's exit code, or that it could not be started.
pub fn run(command: &mut Command) -> Done {
    println!("$ {}", as_typed(command));
    let status = command
        .status()
        .map_err(|error| Failure::check(format!("{}: {error}", as_typed(command))))?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Err(Failure::Command(code.unwrap_or(1)))
}

/// What `cargo metadata` answers with these options.
///
/// # Errors
/// That cargo failed, with what it said.
pub fn metadata(options: &[&str]) -> Result<Value, Failure> {
    let mut command = cargo(["metadata", "--format-version", "1"]);
    let output = command.args(options).output().map_err(Failure::check)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::check(format!("cargo metadata failed: {said}")));
    }
    serde_json::from_slice(&output.stdout).map_err(Failure::check)
}

/// Builds the program of this name, and says where it is. Cargo shows its progress. What is not built with
/// optimisation is built as [`WITH_THE_TESTS`] says.
///
/// # Errors
/// That cargo failed, which says why itself.
pub fn built(name: &str, target: &[&str]) -> Result<PathBuf, Failure> {
    let is_shared = env::var_os(WITH_THE_TESTS).is_some() && !target.contains(&"--release");
    let target = if is_shared { WHOLE_WORKSPACE } else { target };
    let mut build = cargo(["build"]);
    build
        .args(target)
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    eprintln!("$ {}", as_typed(&build));
    let output = build.output().map_err(Failure::check)?;
    if !output.status.success() {
        return Err(Failure::Command(1));
    }
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        // The unit tests of a program have its name.
        .filter(|message| message["target"]["name"] == name && message["profile"]["test"] == false)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| Failure::check(format!("cargo built no {name}")))
}

/// A tool of this workspace, built first.
///
/// # Errors
/// As [`built`].
pub fn tool(name: &str) -> Result<Command, Failure> {
    built(name, &target_of(name)).map(Command::new)
}

/// Checks that a tool compiles with its own features, as people build it who do not run all tests.
///
/// # Errors
/// That it does not.
pub fn check_tool(name: &str) -> Done {
    run(&mut cargo(["check"].into_iter().chain(target_of(name))))
}

/// The demonstration needs the command line beside it; all that bmdb-soak does builds both, so that cargo
/// does not build their dependencies again with other features.
fn target_of(tool: &str) -> Vec<&str> {
    let mut target = vec!["--package", tool, "--bins"];
    if tool == "bmdb-soak" {
        target.extend(["--package", "bmdb-cli"]);
    }
    target
}

/// Whether the command runs and succeeds; prints nothing.
pub fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as one would type it.
#[must_use]
pub fn as_typed(command: &Command) -> String {
    let variables = command.get_envs().filter_map(|(name, value)| {
        Some(format!(
            "{}='{}'",
            name.to_string_lossy(),
            value?.to_string_lossy()
        ))
    });
    let program = Path::new(command.get_program()).file_name();
    let words = program
        .into_iter()
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned());
    variables.chain(words).collect::<Vec<_>>().join(" ")
}
