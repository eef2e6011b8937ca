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

/// Builds the program of this name, and says where it is. Cargo shows its progress.
///
/// # Errors
/// That cargo failed, which says why itself.
pub fn built(name: &str, target: &[&str]) -> Result<PathBuf, Failure> {
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
        .filter(|message| message["target"]["name"] == name)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| Failure::check(format!("cargo built no {name}")))
}

/// A tool of this workspace, built first. The demonstration needs the command line beside it; all that
/// bmdb-soak does builds both, so that cargo does not build their dependencies again with other features.
///
/// # Errors
/// As [`built`].
pub fn tool(name: &str) -> Result<Command, Failure> {
    let mut target = vec!["--package", name, "--bins"];
    if name == "bmdb-soak" {
        target.extend(["--package", "bmdb-cli"]);
    }
    built(name, &target).map(Command::new)
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
