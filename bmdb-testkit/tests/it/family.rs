//! Test processes that share a server only with each other.

use crate::folder::Folder;
use crate::{Result, child};
use bmdb_testkit::{OsUser, Template, TestDb, cache_dir};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use std::{env, fs, thread};

/// The test that the child processes run.
pub(crate) const CHILD: &str =
    "family::a_child_of_these_tests_takes_a_database_on_the_shared_server";

#[tokio::test]
async fn a_child_of_these_tests_takes_a_database_on_the_shared_server() -> Result {
    let Ok(by) = env::var(child::VARIABLE) else {
        // Without a parent it is an ordinary test.
        TestDb::new().await?;
        return Ok(());
    };
    let db = match env::var("BMDB_TESTKIT_CHILD_ADDS") {
        Ok(name) => {
            let table = format!("CREATE TABLE {name} ()");
            let db = Template::new().sql(table).database().await?;
            let added = "SELECT relname FROM pg_class WHERE relname IN ('red', 'blue')";
            child::print("tables", &db.rows(added).await?.join(","));
            db
        }
        Err(_) => TestDb::new().await?,
    };
    if by == "many" {
        let mut kept = Vec::new();
        for _ in 0..100 {
            kept.push(TestDb::new().await?);
        }
    }
    let folder = db.rows("SHOW unix_socket_directories").await?.remove(0);
    let pid = fs::read_to_string(Path::new(&folder).join("data/postmaster.pid"))?;
    let pid = pid.lines().next().unwrap_or_default();
    child::print("server", &format!("{pid} {folder}"));
    if by == "stdin" {
        // Waits for its parent; the server must still run then.
        std::io::stdin().read_line(&mut String::new())?;
        TestDb::new().await?;
        child::print("still", &folder);
    }
    child::die(&by)
}

/// Test processes with a cache of their own, and so with a shared server of their own.
pub(crate) struct Family {
    pub(crate) folder: Folder,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shared {
    pub(crate) pid: String,
    pub(crate) folder: String,
}

impl Family {
    pub(crate) fn new() -> Result<Self> {
        let folder = Folder::new()?;
        // Making a seed takes a second.
        let cache = fs::read_dir(cache_dir(&OsUser::for_server()?));
        for entry in cache.into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("seed-") && entry.path().is_dir() {
                symlink(entry.path(), folder.path().join(entry.file_name()))?;
            }
        }
        Ok(Self { folder })
    }

    pub(crate) fn command(&self, dies_by: &str) -> Result<Command> {
        let mut command = child::command(CHILD, dies_by)?;
        command
            .env_remove("BMDB_TEST_DATABASE_URL")
            .env("BMDB_TESTKIT_CACHE", self.folder.path())
            .stdin(std::process::Stdio::piped());
        Ok(command)
    }

    pub(crate) fn child(&self, dies_by: &str) -> Result<(Child, Shared)> {
        let mut child = self.command(dies_by)?.spawn()?;
        let shared = read_server(&mut child)?;
        Ok((child, shared))
    }
}

pub(crate) fn read_server(child: &mut Child) -> Result<Shared> {
    let server = child::read(child, "server")?;
    let (pid, folder) = server.split_once(' ').ok_or("no folder")?;
    Ok(Shared {
        pid: pid.to_owned(),
        folder: folder.to_owned(),
    })
}

impl Shared {
    pub(crate) fn runs(&self) -> bool {
        exists(&self.pid)
    }

    pub(crate) fn is_gone(&self) -> bool {
        !self.runs() && !Path::new(&self.folder).exists()
    }

    /// The two shells of its supervisor: the server's parent, and the parent's other child.
    pub(crate) fn supervisor(&self) -> Result<Vec<String>> {
        let all = Command::new("ps")
            .args(["-A", "-o", "pid=,ppid="])
            .output()?;
        let all = String::from_utf8_lossy(&all.stdout).into_owned();
        let pairs: Vec<(&str, &str)> = all
            .lines()
            .filter_map(|line| line.trim().split_once(char::is_whitespace))
            .map(|(pid, parent)| (pid, parent.trim()))
            .collect();
        let main = pairs.iter().find(|(pid, _)| *pid == self.pid);
        let main = main.ok_or("the server does not run")?.1;
        let shells = pairs
            .iter()
            .filter(|(pid, parent)| *pid == main || (*parent == main && *pid != self.pid));
        Ok(shells.map(|(pid, _)| (*pid).to_owned()).collect())
    }
}

/// A search path with every program that the kit starts except `setpriv`, without which the kernel does
/// not end the server with its supervisor.
pub(crate) fn tools_without_setpriv() -> Result<Folder> {
    let tools = Folder::new()?;
    for tool in ["cp", "rm", "mv", "sleep"] {
        tools.program(
            tool,
            &format!("#!/bin/sh\nPATH=/bin:/usr/bin exec {tool} \"$@\"\n"),
        )?;
    }
    Ok(tools)
}

/// Whether the process runs. A zombie does not.
pub(crate) fn exists(pid: &str) -> bool {
    let output = Command::new("ps").args(["-o", "stat=", "-p", pid]).output();
    output.is_ok_and(|output| {
        let state = String::from_utf8_lossy(&output.stdout);
        !state.trim().is_empty() && !state.starts_with('Z')
    })
}

pub(crate) fn kill9(pids: &[String]) -> Result {
    let killed = Command::new("kill").arg("-9").args(pids).status()?;
    assert!(killed.success());
    Ok(())
}

pub(crate) fn within(limit: Duration, what: &str, is_true: impl Fn() -> bool) -> Result {
    let begun = Instant::now();
    while !is_true() {
        if begun.elapsed() > limit {
            return Err(format!("{what}: still not so after {limit:?}").into());
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

pub(crate) const SECOND: Duration = Duration::from_secs(1);
