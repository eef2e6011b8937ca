//! A machine without PostgreSQL: this one, in a namespace that hides every server.

use crate::Result;
use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{env, fs};

/// An empty cache, and the command that enters the namespace.
pub(crate) struct Machine {
    folder: PathBuf,
    enter: Vec<String>,
}

/// How a task ended, and what it printed.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Machine {
    /// `None` if the system does not permit it; a notice is printed.
    pub(crate) fn without_postgres() -> Result<Option<Self>> {
        let enter: Vec<String> = if id("-u")? == "0" {
            words(&["unshare", "--mount"])
        } else {
            words(&["unshare", "--user", "--map-root-user", "--mount"])
        };
        let hide = ["sh", "-c", include_str!("hide.sh"), "hide.sh"];
        let mut enter = [enter, words(&hide)].concat();
        if id("-u")? != "0" {
            // Return to the own user: the server does not run as root.
            let (user, group) = (id("-u")?, id("-g")?);
            enter.extend(words(&["unshare", "--user"]));
            enter.extend([format!("--map-user={user}"), format!("--map-group={group}")]);
        }
        let (program, arguments) = enter.split_first().ok_or("nothing to run")?;
        let tried = Command::new(program).args(arguments).arg("true").output();
        let refused = match tried {
            Ok(output) if output.status.success() => None,
            Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Some(format!("unshare: {error}")),
        };
        if let Some(refused) = refused {
            skip(&format!(
                "no namespace can be made to hide PostgreSQL in ({refused}): run it on Linux, as \
                 root with CAP_SYS_ADMIN or where user namespaces are permitted"
            ));
            return Ok(None);
        }
        let name = format!("bmdb-machine-{}", uuid::Uuid::new_v4().simple());
        let folder = env::temp_dir().join(name);
        fs::create_dir(&folder)?;
        // As root, the server runs as another user, who needs access.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))?;
        Ok(Some(Self { folder, enter }))
    }

    pub(crate) fn cache(&self) -> PathBuf {
        self.folder.join("cache")
    }

    /// Runs a task to its end.
    pub(crate) fn xtask(&self, arguments: &[&str]) -> Result<Ended> {
        self.xtask_with(&env::var_os("PATH").unwrap_or_default(), arguments)
    }

    /// Runs a task that searches for programs in this path.
    pub(crate) fn xtask_with(&self, path: &OsString, arguments: &[&str]) -> Result<Ended> {
        let (program, enter) = self.enter.split_first().ok_or("nothing to run")?;
        let mut set_path = OsString::from("PATH=");
        set_path.push(path);
        let mut command = Command::new(program);
        command
            .args(enter)
            // Set inside, because the command that enters the namespace needs the usual path.
            .arg("env")
            .arg(set_path)
            .arg(program_of(arguments)?)
            .args(arguments)
            .env("BMDB_TESTKIT_CACHE", self.cache())
            .env_remove("BMDB_TEST_DATABASE_URL")
            .env_remove("BMDB_PG_BIN")
            .stdin(Stdio::null());
        // A test runner that the task starts must not think that this one runs it.
        for (name, _) in env::vars_os() {
            if name.as_encoded_bytes().starts_with(b"NEXTEST") {
                command.env_remove(name);
            }
        }
        let output = command.output()?;
        Ok(Ended {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// Creates a folder with links to these programs.
    pub(crate) fn only(&self, programs: &[&str]) -> Result<PathBuf> {
        let folder = self.folder.join("only");
        fs::create_dir(&folder)?;
        let path = env::var_os("PATH").unwrap_or_default();
        for program in programs {
            let found = env::split_paths(&path)
                .map(|folder| folder.join(program))
                .find(|found| found.is_file())
                .ok_or_else(|| format!("there is no {program} in PATH"))?;
            symlink(found, folder.join(program))?;
        }
        Ok(folder)
    }

    /// Creates a folder with a program that fails immediately.
    pub(crate) fn failing(&self, program: &str) -> Result<PathBuf> {
        let folder = self.folder.join("failing");
        fs::create_dir(&folder)?;
        let path = folder.join(program);
        fs::write(&path, "#!/bin/sh\nexit 1\n")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(folder)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Best effort: a rest in the folder for temporary files does no harm. A server that `pg start`
        // booted stops when its file in the cache is removed.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Ended {
    /// Returns itself if it ended with this code, else an error with its output.
    pub(crate) fn with(self, code: i32) -> Result<Self> {
        if self.code == Some(code) {
            return Ok(self);
        }
        let Self { stdout, stderr, .. } = &self;
        Err(format!(
            "exit code {:?} instead of {code}\n{stdout}\n{stderr}",
            self.code
        )
        .into())
    }

    /// Returns itself if all of these texts are on its standard error.
    pub(crate) fn saying(self, expected: &[&str]) -> Result<Self> {
        match expected.iter().find(|text| !self.stderr.contains(**text)) {
            None => Ok(self),
            Some(missing) => Err(format!("{missing:?} is not in:\n{}", self.stderr).into()),
        }
    }
}

/// Prints why a test shows nothing here.
#[allow(
    clippy::print_stderr,
    reason = "a test that shows nothing must not look like one that does"
)]
pub(crate) fn skip(why: &str) {
    eprintln!("\n==== NOT TESTED: {why} ====\n");
}

/// The program of a task: the demonstration is another tool's.
fn program_of(arguments: &[&str]) -> Result<OsString> {
    let own = env!("CARGO_BIN_EXE_bmdb-dev");
    if arguments.first() != Some(&"demo") {
        return Ok(own.into());
    }
    // Where the tests of the whole workspace run, it stands beside this one's. Building it again would
    // build its dependencies again, without the features of tests.
    let beside = Path::new(own).with_file_name("bmdb-soak");
    if beside.exists() {
        return Ok(beside.into());
    }
    let built = bmdb_shell::tool("bmdb-soak");
    let program = built.map_err(|failure| format!("bmdb-soak: {failure:?}"))?;
    Ok(program.get_program().to_owned())
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

fn id(option: &str) -> Result<String> {
    let output = Command::new("id").arg(option).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// A search path with the folder in front.
pub(crate) fn before(folder: &Path, path: &OsString) -> Result<OsString> {
    let folders = std::iter::once(folder.to_owned()).chain(env::split_paths(path));
    Ok(env::join_paths(folders)?)
}
