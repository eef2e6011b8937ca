//! Running commands, visibly, and ending with the right exit code.

use serde_json::Value;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a task did not succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A check found something, or a step went wrong.
    Check(String),
    /// The request itself was wrong.
    Usage(String),
    /// A command ended with this code, having said why itself.
    Command(u8),
}

pub(crate) type Done = Result<(), Failure>;

impl Failure {
    pub(crate) fn check(message: impl ToString) -> Self {
        Self::Check(message.to_string())
    }

    pub(crate) fn usage(message: impl ToString) -> Self {
        Self::Usage(message.to_string())
    }

    pub(crate) fn message(&self) -> Option<&str> {
        match self {
            Self::Check(message) | Self::Usage(message) => Some(message),
            Self::Command(_) => None,
        }
    }

    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Check(_) => 1,
            Self::Usage(_) => 2,
            Self::Command(code) => *code,
        }
    }
}

/// The workspace's folder.
pub(crate) fn root() -> PathBuf {
    let xtask =
        env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&xtask)
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

/// A cargo command in the workspace's folder.
pub(crate) fn cargo<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    // What cargo set for this program is no business of the one it starts.
    command.env_remove("CARGO_MANIFEST_DIR");
    command
}

/// Prints the command as one would type it, runs it, and passes its failure on.
pub(crate) fn run(command: &mut Command) -> Done {
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

/// Builds an example of bmdb-core, with further options of cargo's; returns the program, wherever cargo
/// keeps it.
pub(crate) fn example(name: &str, options: &[&str]) -> Result<PathBuf, Failure> {
    let mut target = vec!["--package", "bmdb-core", "--example", name];
    target.extend(options);
    built(name, &target)
}

/// Builds the program of this name, and says where it is.
pub(crate) fn built(name: &str, target: &[&str]) -> Result<PathBuf, Failure> {
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

/// Whether the command runs and succeeds; prints nothing.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The command as one would type it.
pub(crate) fn as_typed(command: &Command) -> String {
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

/// Runs asynchronous work to its end.
pub(crate) fn block_on(work: impl Future<Output = Done>) -> Done {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Failure::check)?
        .block_on(work)
}
